"""A SQLite database, closed to its writers by what its file system can."""
