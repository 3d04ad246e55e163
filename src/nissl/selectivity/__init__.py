"""Which units respond to what. Each method has a file of its name.

What methods stand on is below: what networks are asked and what is lost without units in
`nissl.behaviour`, what every unit did in `nissl.network`, tests and accumulators in
`nissl.statistics`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
