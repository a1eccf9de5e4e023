"""Ending what is in flight: the sweep after a change of words, and bytes that stay unsent."""
