"""Calibration: measured rows, their prediction by simulation, the fits of the laws, and what both say of each other."""
