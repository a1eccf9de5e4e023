"""Tokens, keys and roles: revoked where they are honoured, and seen to be refused."""
