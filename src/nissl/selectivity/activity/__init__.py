"""What every neuron did: in each document, at each token, to each answer."""
