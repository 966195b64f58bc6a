"""Code that every command shares; it imports no other part of scangan."""
