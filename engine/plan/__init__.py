"""How much memory and time a recipe will need."""
