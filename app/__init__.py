"""The window of Tunesmith: pages, widgets and the threads that watch the engine."""
