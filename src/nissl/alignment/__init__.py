"""Alignment: how alike two representations of the same stimuli are, and which units match.

Each measure has a file in `nissl.alignment.measures`; `nissl.alignment.permute` brings the units of
one network into the order of another's.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
