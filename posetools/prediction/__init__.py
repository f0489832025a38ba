"""What a pair sees in images and videos, and the files that say so."""
