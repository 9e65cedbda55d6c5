"""One function per figure of the paper: columns in, a picture and the numbers drawn in it out.

A figure whose data a run does not have is not drawn: its caption says what is missing.
"""

from specdis.report.figures import distances, external, magnitudes, rivals, spectra

__all__ = ["distances", "external", "magnitudes", "rivals", "spectra"]
