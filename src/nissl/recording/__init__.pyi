from .recording import NotARecording as NotARecording
from .recording import Recording as Recording
from .recording import check as check
from .recording import labels_of as labels_of
from .recording import recording as recording
from .recording import samples_table as samples_table
from .recording import units_table as units_table
