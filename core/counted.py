"""A number with its noun, for everything that people read."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """Put a number before its noun: ``1 scan``, ``2 scans``; `plural` where an s alone is wrong."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
