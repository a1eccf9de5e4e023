"""How requests come in: the port, TLS, what bounds them, and what every answer bears."""
