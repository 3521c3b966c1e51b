"""A training step on tensors without values: what it would hold of a device's memory, and when."""
