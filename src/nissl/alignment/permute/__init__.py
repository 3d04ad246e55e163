"""Permute: axes of weights that share a permutation, and networks brought into one order."""
