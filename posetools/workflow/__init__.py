"""The whole road, from labeled images to a trained pair."""
