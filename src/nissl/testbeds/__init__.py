"""Testbeds: networks and data whose truth is known, and how well methods find it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
