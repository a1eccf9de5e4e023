"""The warden's door: who may come in, what can be asked, and what is answered."""
