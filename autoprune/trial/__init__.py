"""The trial's side: what experiment code calls to get its parameters and to report its results."""
