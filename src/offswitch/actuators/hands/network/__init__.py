"""A second way to cut a cell off, beside BPF."""
