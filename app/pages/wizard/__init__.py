"""The way from nothing to a started run: model, data, method, training, review."""
