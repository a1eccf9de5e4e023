"""The command line: one file a noun. `stop`, `status` and `reset` take a fast path of their own."""
