"""Container engines: told, so that nothing starts it again."""
