from .atlas import atlas as atlas
from .network_atlas import network_atlas as network_atlas
from .opened import Atlas as Atlas
from .opened import open_atlas as open_atlas
from .page import write_page as write_page
from .recording_atlas import recording_atlas as recording_atlas
from .tuning import Tuning as Tuning
from .tuning import tuning as tuning
