"""The command line."""

from posetools.cli.app import main

__all__ = ["main"]
