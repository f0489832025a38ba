"""The whole workflow, from labeled images to a trained pair."""
