"""The finder: a process that finds an adopted target's cgroup again, by its name (SR-24)."""
