"""GGUF files: written from a model folder tensor by tensor, and read back to prove it."""
