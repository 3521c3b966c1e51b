"""What an experienced eye says of a recipe before it runs, with figures, a fix and sources."""
