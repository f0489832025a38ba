"""Disks and URLs: files are read whole, and written atomically."""
