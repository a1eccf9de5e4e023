"""Opening and confirming a reset, as far as the station has a part in it: it hands words over."""
