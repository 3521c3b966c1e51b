"""A file of a stranger is looked at by a small child first; what it said is remembered."""
