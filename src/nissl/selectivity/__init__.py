"""Which units respond to what: detectors, and what happens when they are silenced.

Each method has a file of its name here. What methods share is in three folders: ``inputs`` (what
networks are asked), ``activity`` (what every neuron did), and ``ablation`` (what is lost without
units).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
