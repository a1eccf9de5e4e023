"""Detectors: one a file, the maths in its docstring. A plugin of the group `offswitch.detectors`."""
