"""SLEAP: .slp files, through sleap-io."""
