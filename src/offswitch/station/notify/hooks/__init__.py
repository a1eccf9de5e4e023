"""What Slack and PagerDuty tell us: signed, of now, and once."""
