"""What to look at to see whether anybody touches the stop (DET-6), each part in its own file."""
