"""Errors that a user can act on: one sentence that says what, where and what to do."""


class ScanganError(Exception):
    """Base of every error that scangan raises on purpose; its text is one line for the user."""


class GenerationError(ScanganError):
    """A model file cannot be used, or scans cannot be generated or written as asked."""
