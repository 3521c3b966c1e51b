"""Ollama: a Modelfile with the template, stop words and system prompt that a model was trained with."""
