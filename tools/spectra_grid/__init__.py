"""LTE synthesis of the mock's stellar spectra, and the script that computes and compresses their grid."""
