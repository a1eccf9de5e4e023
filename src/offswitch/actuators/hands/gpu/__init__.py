"""What computes on GPUs, by the driver's own list."""
