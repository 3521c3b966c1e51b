"""Layers of a model computed in fewer, larger pieces, with the numbers of their own forwards."""
