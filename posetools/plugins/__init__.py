"""Plug-ins: what posetools and other packages register as entry points, loaded on first use."""
