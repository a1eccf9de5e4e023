"""A cell cut off by nf_tables, a second way beside BPF."""
