"""The sensor of training runs that write TensorBoard's event files, and how those are read."""
