"""A file for each readout: how the response of a unit is made of features."""
