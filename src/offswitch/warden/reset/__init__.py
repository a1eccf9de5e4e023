"""A reset: who may, on whose proof, what it clears, and who is told. It starts nothing."""
