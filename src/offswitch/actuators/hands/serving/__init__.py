"""Model servers: paused, aborted, unloaded, by their own calls."""
