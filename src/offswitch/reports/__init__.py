"""What happened, told from the ledger alone: incidents and reports, pure, no input or output."""
