"""VIA: projects of version 2 and 3, and their exports."""
