"""From stored pixels to coefficients, missing pixels included (section 3.1 of the paper)."""
