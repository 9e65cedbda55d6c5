"""Section 2.4 of the paper: from spectra to unit vectors on one grid."""
