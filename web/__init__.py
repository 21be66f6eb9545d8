"""What all handlers share: bodies and parameters in, JSON out, and what HTTP says between."""
