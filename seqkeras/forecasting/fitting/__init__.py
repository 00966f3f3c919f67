"""Fit a forecaster: split, train, calibrate."""
