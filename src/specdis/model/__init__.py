"""A trained model: everything that turns native pixels into distances, in one folder, without training data."""
