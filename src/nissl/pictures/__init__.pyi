from .fragment import as_json as as_json
from .fragment import html as html
from .fragment import plain_table as plain_table
from .fragment import plain_text as plain_text
from .renderers import script as script
from .renderers import style as style
