"""Alignment: how alike two representations of the same stimuli are, and which units match.

Each measure has a file in `nissl.alignment.measures`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
