"""Which components of a network cause a behaviour, and by which connections.

Each method has a file of its name. What a behaviour is, and what is left of it under edits, is
below, in `nissl.behaviour`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
