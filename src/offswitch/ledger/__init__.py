"""The ledger: a record that cannot be changed unnoticed.

Entries are the leaves of a Merkle tree (RFC 6962); each commit signs the tree's root
(C2SP signed notes and checkpoints). `tree` and `proof` are the mathematics, `checkpoint`
and `key` the signatures, `seal` what an entry is made of, `store` the one SQLite file,
`recorder` the only process that writes it, `verifier` the independent check.
"""
