"""Forecasting networks: how they are built, what they read and what their outputs mean."""
