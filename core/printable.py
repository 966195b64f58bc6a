"""Text that a terminal can show as it is."""


def printable(text: str) -> str:
    """Escape line breaks, control characters and whatever else is not printable, as Python would."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
