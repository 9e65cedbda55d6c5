"""One function per figure of the paper: it takes columns, and returns a picture and the numbers drawn.

Without its data a figure is not drawn, and its caption names what is missing.
"""

from specdis.report.figures import distances, external, halo, magnitudes, rivals, spectra

__all__ = ["distances", "external", "halo", "magnitudes", "rivals", "spectra"]
