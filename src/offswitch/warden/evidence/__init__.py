"""Evidence of what was stopped: looked at beforehand, and kept beside the stop (ACT-11)."""
