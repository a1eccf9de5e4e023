"""What happened, told from the ledger alone: incidents and reports, pure, without input or output."""
