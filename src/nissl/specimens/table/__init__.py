"""What the registry pins, by kind."""
