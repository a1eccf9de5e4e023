"""The warden renewed in place: the same process, its children and its peers, with new code."""
