from .fetching import fetch as fetch
from .load import load as load
from .read import read as read
from .registry import Source as Source
from .registry import Specimen as Specimen
from .registry import specimen as specimen
from .registry import specimens as specimens
from .text_files import read_texts as read_texts
