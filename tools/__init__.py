"""What developers of posetools run: files that are made from code, and sample data."""
