"""The keeper: the warden's last hand, a process of its own (SR-22, SEC-6)."""
