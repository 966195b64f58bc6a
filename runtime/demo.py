"""Turn a model file into one HTML page that makes its scans in any browser, from disk."""

import base64
import hashlib
import html
import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

from deflate import gzip_compress

from scangan.artifacts.modelfile import ModelFile
from scangan.artifacts.scan_folder import UNNAMED, folder_names
from scangan.core.errors import GenerationError
from scangan.core.files import write_bytes
from scangan.runtime.info import card_rows

WEB = Path(__file__).parent / "web"
BUILT = WEB / "built"
SCRIPT = BUILT / "page.js"
SLOT = re.compile(r"\{\{(\w+)\}\}")


def write_demo(file: ModelFile, name: str, out: Path) -> None:
    """Write a page that holds the model and all that runs it, and needs no network.

    Parameters
    ----------
    file : ModelFile
        The model.
    name : str
        Its name, for the page's heading.
    out : Path
        The HTML file; replaced if it exists.

    Raises
    ------
    GenerationError
        This installation lacks the page's script, or the card is damaged.
    OSError
        `out` cannot be written.
    """
    page = demo_page(file, name).encode()
    out.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(out, page)


def demo_page(file: ModelFile, name: str) -> str:
    """Return the page: HTML of 6 MB for a bundled model. See `write_demo`."""
    card = file.card
    folders = folder_names(card.classes) or [UNNAMED]
    facts: dict[str, Any] = {
        "name": name,
        "sha256": file.sha256,
        "classes": card.classes,
        "folders": folders,
        "size": card.size,
        "latent": card.latent,
        "version": version("scangan"),
    }
    rows = card_rows(file)[1:]  # without the path, which nobody else has to know
    slots = {
        "notice": _text("NOTICE"),
        "title": html.escape(name),
        "card": "".join(
            f"<dt>{html.escape(key)}</dt><dd>{html.escape(value)}</dd>" for key, value in rows
        ),
        "version": html.escape(facts["version"]),
        "facts": json.dumps(facts).replace("<", "\\u003c"),
        "runtime": base64.b64encode(_built("runtime.wasm.gz")).decode(),
        "model": base64.b64encode(gzip_compress(file.data, 12)).decode(),
    }
    return filled("page", slots)


def filled(page: str, slots: dict[str, str], *, images: bool = False) -> str:
    """Fill the slots of a page, ``page`` or ``study``, with its style and script, and texts of HTML.

    Nothing may be fetched, and nothing runs but the page's script and its WebAssembly; a page with
    `images` shows those that it holds, and has no WebAssembly.
    """
    style, script = _text("page.css"), _built(f"{page}.js").decode()
    runs = "" if images else " 'wasm-unsafe-eval'"
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'{runs}; style-src '{_hash(style)}'; "
        f"{'img-src data:; ' if images else ''}base-uri 'none'; form-action 'none'"
    )
    every = {"policy": policy, "style": style, "script": script, **slots}
    return SLOT.sub(lambda slot: every[slot[1]], _text(f"{page}.html"))


def _built(name: str) -> bytes:
    """Read a file that `make web` made."""
    try:
        return (BUILT / name).read_bytes()
    except FileNotFoundError as error:
        raise GenerationError(
            "this installation cannot make a page: its script was not built; install scangan from a "
            "wheel, or install npm, run `make web` and install again"
        ) from error


def _text(name: str) -> str:
    return (WEB / name).read_text("utf-8")


def _hash(text: str) -> str:
    """Name a text as a content security policy does (CSP level 3)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
