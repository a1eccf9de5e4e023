"""What becomes of the files below a path, from outside."""
