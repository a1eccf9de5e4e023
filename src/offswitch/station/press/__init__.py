"""A stop that somebody presses at the station, on its way to whoever can stop."""
