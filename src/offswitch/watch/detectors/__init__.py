"""Detectors, plugins of the group `offswitch.detectors`: one a file, the maths in its docstring."""
