"""A file for each measure: how alike two representations are."""
