"""Recording: the activity of sites over many inputs."""
