"""The engine of Tunesmith: everything but pixels."""
