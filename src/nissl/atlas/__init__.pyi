from .compare_atlases import compare_atlases as compare_atlases
from .make_atlas import make_atlas as make_atlas
from .network_atlas import network_atlas as network_atlas
from .reader import Atlas as Atlas
from .reader import Unit as Unit
from .reader import open_atlas as open_atlas
from .recording_atlas import recording_atlas as recording_atlas
from .unit_notes import UnitNotes as UnitNotes
