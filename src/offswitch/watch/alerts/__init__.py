"""The alerts that a team already has: what others' monitors found, as readings."""
