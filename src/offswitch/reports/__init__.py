"""What happened, told from the ledger alone."""
