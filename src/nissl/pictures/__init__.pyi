from .renderers import script as script
from .renderers import style as style
