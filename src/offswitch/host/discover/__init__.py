"""What already runs on this machine and is under no control, and how to put it there."""
