"""Text that a terminal can show as it is, and words that one can type into it."""

import os

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


def to_type(*words: str | os.PathLike[str]) -> str:
    """Join words as one types them in a shell: that of Windows, or bash and zsh."""
    texts = [os.fspath(word) for word in words]
    # A path must not look like an option.
    paths = (
        not isinstance(word, str) and text[:1] == "-"
        for word, text in zip(words, texts, strict=True)
    )
    texts = [f"./{text}" if is_path else text for is_path, text in zip(paths, texts, strict=True)]
    if os.name == "nt":
        from subprocess import list2cmdline

        return list2cmdline(texts)
    return " ".join(map(_quoted_for_shell, texts))


def _quoted_for_shell(word: str) -> str:
    """Quote a word; what cannot be shown, such as a space that does not break, is escaped."""
    from shlex import quote

    if word.isprintable():
        return quote(word)
    escaped = (
        f"\\{c}"
        if c in "\\'"
        else c
        if c.isprintable()
        else "".join(map("\\x{:02x}".format, _utf8(c)))
        for c in word
    )
    return f"$'{''.join(escaped)}'"


def _utf8(letter: str) -> bytes:
    return letter.encode("utf-8", "surrogateescape")
