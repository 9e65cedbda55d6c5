"""Section 3.3 of the paper: absolute magnitudes and distances with their errors."""
