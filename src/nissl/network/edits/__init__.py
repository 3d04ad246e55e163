"""Edits: changes to activity and weights while a network runs."""
