"""Helpers of several test files: arrays, models, layer calls, forecasters, comparisons."""
