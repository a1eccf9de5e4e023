"""What could keep a stop from working, found before it is needed: pure functions over facts."""
