"""A data set in PostgreSQL, followed by logical decoding."""
