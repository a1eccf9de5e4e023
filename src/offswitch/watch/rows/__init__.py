"""Rows of a data set: what changed, what a batch did, what is usual, wherever they lie."""
