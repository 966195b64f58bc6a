"""Put a number before its noun, in messages for people."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """Put a number before its noun: ``1 scan``, ``2 scans``; `plural` is for irregular nouns."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
