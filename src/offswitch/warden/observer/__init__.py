"""The observer: a process that did none of the stopping, and says whether it happened."""
