from .disentanglement import disentanglement as disentanglement
from .disentanglement import mdas as mdas
from .recovery import recovery as recovery
