"""Many files at once: in one process, in several, or on a Dask cluster."""
