"""The warden's half of a drill: its target, what counts, and the one automatic reset."""
