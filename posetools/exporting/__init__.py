"""A trained pair as files to share: bundles and checkpoints."""
