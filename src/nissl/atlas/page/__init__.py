"""The page of an atlas: one file that shows every unit, made from the atlas's tables alone."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
