from .manifest import StoreMismatch as StoreMismatch
from .manifest import is_store as is_store
from .reader import open_store as open_store
from .saving import save as save
from .writer import SampleAxis as SampleAxis
from .writer import StoreWriter as StoreWriter
