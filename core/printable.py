"""Text that a terminal can show as it is, and words that one can type into it."""

import os
from pathlib import PurePath

QUOTED = 40  # characters of a value to quote in an error


def quoted(value: object) -> str:
    """Quote a value from a file as Python would, and no more of it than fits into an error."""
    text = repr(value)
    if len(text) <= QUOTED:
        return text
    if not isinstance(value, str):
        return f"{text[:QUOTED]}..."
    kept = value[:QUOTED]
    while len(repr(kept)) > QUOTED:
        kept = kept[:-1]
    return f"{kept!r}..."


def printable(text: str) -> str:
    """Escape line breaks, control characters and whatever else is not printable, as Python would."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def to_type(*words: str | PurePath) -> str:
    """Join words as one types them in a shell: that of Windows, or bash and zsh."""
    texts = [word if isinstance(word, str) else _no_option(str(word)) for word in words]
    if os.name == "nt":
        from subprocess import list2cmdline

        return list2cmdline(texts)
    return " ".join(map(_quoted_for_shell, texts))


def _no_option(path: str) -> str:
    return f"./{path}" if path.startswith("-") else path


def _quoted_for_shell(word: str) -> str:
    """Quote a word; what cannot be shown, such as a space that does not break, is escaped."""
    from shlex import quote

    if word.isprintable():
        return quote(word)
    return f"$'{''.join(map(_escaped, word))}'"


def _escaped(letter: str) -> str:
    if letter in "\\'":
        return f"\\{letter}"
    if letter.isprintable():
        return letter
    return "".join(f"\\x{byte:02x}" for byte in letter.encode("utf-8", "surrogateescape"))
