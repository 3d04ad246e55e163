from .circuits import PlantedCircuit as PlantedCircuit
from .circuits import backup_head as backup_head
from .circuits import cancelling_paths as cancelling_paths
from .circuits import induction as induction
from .circuits import planted_circuit as planted_circuit
from .circuits import previous_token as previous_token
from .circuits import saturated_gate as saturated_gate
from .circuits import two_hops as two_hops
