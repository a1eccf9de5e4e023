"""Drills: what must work in the emergency is tried beforehand, with nobody hurt."""
