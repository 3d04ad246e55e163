from .connectivity import Connectivity as Connectivity
from .connectivity import connectivity as connectivity
