"""Reading frames into arrays, and writing forecasts as frames."""
