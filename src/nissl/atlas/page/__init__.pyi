from .write import write_page as write_page
