"""Lines: following files through everything that happens to logs, and sorting lines into kinds."""
