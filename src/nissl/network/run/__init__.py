"""Runs: from inputs of any kind to calls of the model."""
