"""What every command shares; it imports nothing else of scangan."""
