"""Read pandas frames into arrays, and write forecasts back as frames."""
