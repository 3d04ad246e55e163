"""Recordings: one number for every sample and unit, in memory or on disk; how to combine them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
