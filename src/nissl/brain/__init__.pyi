from .connectivity import Connectivity as Connectivity
from .connectivity import connectivity as connectivity
from .tuning import Tuning as Tuning
from .tuning import tuning as tuning
