"""A fitted forecaster: forecast, update, step, save."""
