"""Readers of foreign formats, one file a family; each arrives as a checked Recording."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
