"""Physical constants in cgs units, energies in electron volts, wavelengths in Angstrom."""

BOLTZMANN = 1.380649e-16
BOLTZMANN_EV = 8.617333e-5
PLANCK = 6.62607e-27
LIGHT_SPEED = 2.99792458e10
ATOMIC_MASS = 1.66054e-24
HYDROGEN_MASS = 1.6735e-24
RYDBERG_EV = 13.598
"""Ionisation energy of hydrogen."""
SECOND_RADIATION = 1.438777
"""h c / k in cm K: turns wavenumbers into exponents of the Boltzmann factor."""
LINE_CROSS_SECTION = 0.026540
"""pi e^2 / (m_e c) in cm^2 Hz: the integrated cross-section of a line with f = 1."""
SAHA = 2.4147e15
"""(2 pi m_e k / h^2)^(3/2) in cm^-3 K^(-3/2)."""
