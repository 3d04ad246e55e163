"""The store: recordings on disk, as a zarr group that any zarr reader opens."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
