"""The store: recordings on disk, as a zarr group that any zarr reader opens."""
