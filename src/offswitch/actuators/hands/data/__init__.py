"""Databases: rights, logins and sessions taken, files closed."""
