"""Where the latch survives: on tmpfs at once, on a disk as soon as it can (SR-16)."""
