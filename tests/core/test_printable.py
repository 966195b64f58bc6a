"""What an error tells you to type, in your shell's own quotes."""

import os
from pathlib import Path

from scangan.core.printable import to_type

WORDS = ("prep-scans", Path("my scans"), "it's", "--size=64")


def test_words_are_quoted_for_the_shell_at_hand(monkeypatch):
    monkeypatch.setattr(os, "name", "posix")
    assert to_type(*WORDS) == "prep-scans 'my scans' 'it'\"'\"'s' --size=64"
    monkeypatch.setattr(os, "name", "nt")
    assert to_type(*WORDS) == 'prep-scans "my scans" it\'s --size=64'
