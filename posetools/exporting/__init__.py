"""A trained pair as files to hand on: bundles and checkpoints."""
