"""The network that maps coefficients to the label (section 3.2), and its likelihoods."""
