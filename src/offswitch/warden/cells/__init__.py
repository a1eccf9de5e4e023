"""Cells: what a target lives in, how it is born there, and by what it is held."""
