"""The warden's side of the hands: told what to be, told to cut, and believed in nothing."""
