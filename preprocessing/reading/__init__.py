"""Read the scans of one file."""
