"""Reading the record for the station, in a process that can do nothing else."""
