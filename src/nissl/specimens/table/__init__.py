"""Pinned artefacts, by kind."""
