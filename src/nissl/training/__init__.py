"""One small loop for the small models that testbeds and examples train, cached by configuration."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
