"""Reading pandas frames into arrays, and writing forecasts back as frames."""
