from ._version import __version__ as __version__
from .claims import claim as claim
from .errors import NisslError as NisslError
from .methods import method as method
from .recording import Recording as Recording
from .recording import check as check
from .specimens import fetch as fetch
from .specimens import read as read
