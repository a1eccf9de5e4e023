"""The configuration: one TOML file, read at start, checked before anything acts on it.

`section` holds what every table has in common, `declared` the tables themselves, `lines`
finds the line of a key, `series` reads the name of a series, `trust` says who else could
have written a file, and `load` joins them. Nothing is imported here, so that `trust` and
`duration` stay standard library only for those who need just that.
"""
