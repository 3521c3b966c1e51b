"""Everything that imports torch; runs in a child process only."""
