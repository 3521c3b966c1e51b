"""Run folders: made, listed, read."""
