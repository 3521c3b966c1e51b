"""Qt item models over the libraries."""
