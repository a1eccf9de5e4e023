"""Ways to stop: one file a layer. The local ones are standard library only."""
