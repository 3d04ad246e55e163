"""The page of an atlas: one file that shows every unit, made from the atlas's tables alone."""
