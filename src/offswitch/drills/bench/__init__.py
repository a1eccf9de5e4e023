"""The bench of the detectors: faults planted into made-up work, and a clean day (DET-2)."""
