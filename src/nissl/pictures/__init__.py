"""Pictures: one renderer each, in the browser, for the page, the explorer, notebooks and docs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
