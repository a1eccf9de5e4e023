"""The ways to tell somebody, one file each; all keep the promise of `contract`."""
