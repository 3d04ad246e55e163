"""Planted specimens: circuits written by hand into a Llama, and activity of known features."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
