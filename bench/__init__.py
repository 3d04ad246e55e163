"""Ratios against peers and limits: ``python -m bench``, or ``python -m bench reads``."""
