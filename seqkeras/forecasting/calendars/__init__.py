"""Timestamps: frequencies, calendar features, holidays."""
