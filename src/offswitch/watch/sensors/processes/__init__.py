"""A target's processes, those beside it, and whom they talk to."""
