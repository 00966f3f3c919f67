"""Inspect a fitted forecaster: importance, components, in-sample forecasts."""
