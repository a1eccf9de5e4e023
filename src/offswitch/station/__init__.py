"""The face: people and their authority, the API, the console, reports, drills.

Nothing about a stop depends on it. It hands its entries to the recorder, its stops and resets to
the warden, and holds no right but these.
"""
