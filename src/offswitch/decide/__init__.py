"""What follows from findings, and who may decide: rules, votes, arbiter, authority.

Everything here is pure or reads a few small files. `authority`, `secret`, `sshsig`,
`totp` and `ed25519` belong to the stop path and are standard library only. Nothing is
imported here, so that the warden pays only for what it uses.
"""
