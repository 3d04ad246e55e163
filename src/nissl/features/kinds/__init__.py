"""Kinds of dictionaries: a file each of an activation, and what training adds to the error."""
