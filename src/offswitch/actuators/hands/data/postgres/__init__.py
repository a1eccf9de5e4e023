"""A target's rights in PostgreSQL, taken away with its sessions."""
