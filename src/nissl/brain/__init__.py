"""The brain: tuning, encoding, decoding, connectivity and states of recorded cells and voxels."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
