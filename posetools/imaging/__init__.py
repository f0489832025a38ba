"""Image files: headers, orientation and completeness."""
