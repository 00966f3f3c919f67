"""A prediction service with one recurrent state for each session, without Keras."""
