"""What each verb of the command line does; `engine.cli` parses and dispatches."""
