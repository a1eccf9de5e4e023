"""Who somebody is, and what they may ask for. That a reset is carried out the warden decides."""
