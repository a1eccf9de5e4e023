"""A data set in SQLite, followed by its file."""
