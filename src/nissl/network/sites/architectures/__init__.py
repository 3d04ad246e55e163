"""Where the field's names for sites lie, one file a family of architectures."""
