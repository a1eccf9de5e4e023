"""Ways to stop that need a secret, a network or somebody's package: each a process of its own.

The warden starts them and imports none of them (SR-4).
"""
