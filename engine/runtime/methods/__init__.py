"""How the methods of adapting a model are set up, saved and taken up again."""
