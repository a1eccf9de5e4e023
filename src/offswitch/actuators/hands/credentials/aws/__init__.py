"""Identities of AWS: denied, with what was issued before refused for good."""
