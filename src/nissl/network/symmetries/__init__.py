"""Symmetries: the axes of weights that may be permuted together, found by tracing a network."""
