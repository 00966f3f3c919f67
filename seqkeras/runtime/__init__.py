"""Trained models as programs that NumPy alone can run, one timestep at a time."""
