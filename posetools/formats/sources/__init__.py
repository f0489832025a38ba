"""What a user names as a source: folders, zip files, and the images that annotations speak of."""
