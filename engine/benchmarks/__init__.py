"""Tasks that models are measured on, how answers are judged, what a difference is worth; no torch."""
