from .page import write_page as write_page
from .recording_atlas import recording_atlas as recording_atlas
from .tuning import Tuning as Tuning
from .tuning import tuning as tuning
