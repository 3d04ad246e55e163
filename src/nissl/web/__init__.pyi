from .index import Index as Index
from .server import server as server
from .view import serve as serve
from .view import view as view
