"""What the console makes of alarms: which came first, which people are told of, and how many."""
