"""Sensors: one source a file. A plugin of the group `offswitch.sensors`."""
