"""The survey: every series that is read, judged at once by one bank and held to one gate."""
