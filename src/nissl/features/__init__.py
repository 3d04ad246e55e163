"""Dictionaries: features learned from activity, and what they are worth.

Each kind of dictionary has a file in `nissl.features.kinds`. A dictionary is a site of a network
(``net.with_dictionary``), so that features are recorded, edited and drawn as neurons are.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
