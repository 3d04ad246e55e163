"""The main job: look at every unit of a network or a brain and say what each one is."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
