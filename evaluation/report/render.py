"""Fill in the templates of a report."""

import base64
import re
from itertools import groupby
from pathlib import Path

import jinja2

TEMPLATES = Path(__file__).with_name("templates")


def rendered(template: str, told: dict[str, object]) -> str:
    """Fill in one of the templates."""
    pages = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=jinja2.select_autoescape(["html.jinja"], default=False),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    pages.filters["data"] = lambda png: "data:image/png;base64," + base64.b64encode(png).decode()
    pages.filters["plain"] = _plain
    pages.filters["cell"] = lambda text: _plain(text).replace("|", r"\|")
    pages.filters["alt"] = lambda text: re.sub(r"([][])", r"\\\1", _plain(text))
    pages.filters["rule"] = lambda _: "---"
    pages.filters["groupby_runs"] = lambda blocks: [
        (kind, list(run)) for kind, run in groupby(blocks, key=lambda block: block.kind)
    ]
    return pages.get_template(template).render(told)


def _plain(text: str) -> str:
    """Keep text from becoming HTML in Markdown, or more than one line."""
    return " ".join(text.replace("<", "&lt;").splitlines())
