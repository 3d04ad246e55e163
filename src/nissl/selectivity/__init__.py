"""Which units respond to what: detectors, and what happens when they are silenced."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
