"""One file in, its scans out."""
