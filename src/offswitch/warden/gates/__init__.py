"""Gateways, as the warden knows them: told of words, and cut where they do not cut."""
