"""Incidents as the station keeps them: made of the record as it grows, and written to by people."""
