"""Networks from coefficients to the label or to distributions of M_G, and their training (sections 3.2 and 5)."""
