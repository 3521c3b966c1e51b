"""The one typed list of training options."""
