"""Sites: the named places of a model, and how the tensor of each is reached."""
