"""SLEAP: .slp files, by sleap-io."""
