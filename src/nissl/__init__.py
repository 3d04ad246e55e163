"""Nissl: see every neuron of a network, artificial or biological.

Five nouns: a Recording (activity of units over samples), a Network (a model with named sites),
an Edit (a change to activity at a site), a Dictionary (directions that turn a site into features)
and a Finding (scores for units with their null). Everything else is a function between them.

Names load on first use, so that ``import nissl`` is quick; ``__init__.pyi`` lists what exists.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
