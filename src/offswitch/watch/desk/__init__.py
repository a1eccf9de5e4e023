"""Where people ask watch something, answer it, and lower it for a while."""
