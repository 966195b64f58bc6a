"""The pages for people in a folder of scans: the contact sheet and the README.

Neither is an image file. Code that lists the folder's images would count a picture as a scan, and
Hugging Face's imagefolder would drop all labels.
"""

import base64
import html
import re

from scangan.artifacts.scan_folder import (
    MANIFEST,
    OLD_SHEET,
    README,
    REQUEST,
    SHEET,
    SUFFIXES,
    Plan,
)
from scangan.core import sheet
from scangan.core.address import Place
from scangan.core.counted import counted
from scangan.core.files import read_bytes, remove, write_bytes
from scangan.core.printable import printable

# A README with this mark is ours to replace. The same line tells you to delete it to keep your edits.
MARK = "# Written by gen-scans"
NOTICE = (
    "Synthetic images made by a generative model. None is a scan of a person. They may resemble those "
    "that it learnt from."
)
ADVICE = "Use them only for training: a score on synthetic scans says nothing about patients."
PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Synthetic scans, seed {seed}</title>
<style>
:root {{ color-scheme: light dark; --ink: #1f2328; --faint: #59636e; --line: #d1d9e0; --paper: #fff; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #e6edf3; --faint: #9198a1; --line: #3d444d; --paper: #0d1117; }}
}}
body {{ margin: 2rem auto; padding: 0 1.5rem; max-width: 80rem; color: var(--ink);
  background: var(--paper); font: 16px/1.5 system-ui, sans-serif; }}
h1 {{ margin: 0; font-size: 1.5rem; }}
h1 b {{ padding: 0 .5rem; border-radius: .3rem; color: #fff; background: #b42318; letter-spacing: .05em; }}
p {{ margin: .5rem 0 1.5rem; color: var(--faint); }}
.sheet {{ overflow-x: auto; }}
img {{ padding: .75rem; border: 1px solid var(--line); border-radius: .5rem; background: #fff;
  image-rendering: pixelated; }}
table {{ margin-top: 1.5rem; border-collapse: collapse; font-size: .9rem; }}
th, td {{ padding: .3rem 1.5rem .3rem 0; border-top: 1px solid var(--line); text-align: left;
  vertical-align: top; overflow-wrap: anywhere; }}
th {{ color: var(--faint); font-weight: normal; white-space: nowrap; }}
</style>
</head>
<body>
<h1><b>SYNTHETIC</b> {total}</h1>
<p>{notice}</p>
<div class="sheet"><img alt="{alt}" src="data:image/png;base64,{picture}"></div>
<table>
{rows}
</table>
</body>
</html>
"""
README_TEXT = """\
---
{mark}, and again when it runs. Delete this line to keep your changes.
configs:
- config_name: default
  data_files: "{pattern}"
tags:
- synthetic
---
# Synthetic scans

{notice}

| | |
| --- | --- |
{rows}

`{manifest}` has a line for each scan: its file, class, seed and index. `{request}` holds the request
that made them. `{sheet}`, if there, shows the first scans of each class.
"""


def facts(plan: Plan) -> list[tuple[str, str]]:
    """Return how the scans were made, as (name, value) rows."""
    draw, request = plan.request.draw, plan.request
    rows = []
    for name, span in zip(plan.names, request.spans, strict=True):
        which = f"index {span.start}"
        if span.count > 1:
            which = f"indexes {span.start} to {span.indices[-1]}"
        if span.left_out:
            which += f" without {len(span.left_out)} that were left out"
        rows.append((f"class {name}" if name is not None else "scans", f"{span.kept}, {which}"))
    rows += [("model file, sha256", plan.model), ("seed", str(draw.seed))]
    rows += [("truncation", str(draw.truncation))] if draw.truncation != 1.0 else []
    rows += [("paired", "the same latents for every class")] if draw.paired else []
    return [*rows, ("format", request.format), ("made by", "gen-scans of scangan")]


def sheet_page(plan: Plan, picture: bytes) -> bytes:
    """Write a self-contained HTML page with the contact sheet and how its scans were made.

    Parameters
    ----------
    plan : Plan
        The plan of the scans.
    picture : bytes
        The contact sheet as PNG.

    Returns
    -------
    bytes
        HTML in UTF-8.
    """
    classes = ", ".join(name for name in plan.names if name is not None)
    rows = (
        f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in facts(plan)
    )
    page = PAGE.format(
        seed=plan.request.draw.seed,
        total=counted(plan.request.total, "scan"),
        notice=_text(f"{NOTICE} {ADVICE}"),
        alt=_text("The first synthetic scans" + (f", a row each of {classes}" if classes else "")),
        picture=base64.b64encode(picture).decode("ascii"),
        rows="\n".join(rows),
    )
    return page.encode()


def readme(plan: Plan) -> bytes:
    """Write the folder's README, a dataset card that tells Hugging Face which files are the data.

    Without it, ``load_dataset(folder)`` picks the most common file suffix. With few scans, or many
    scans per file, it would load the manifest instead.
    """
    suffix = SUFFIXES[plan.request.format]
    text = README_TEXT.format(
        mark=MARK,
        pattern=f"*{suffix}" if plan.sharded else f"*/*{suffix}",
        notice=f"{NOTICE} {ADVICE}",
        rows="\n".join(
            f"| {_markdown(name)} | {_markdown(value)} |" for name, value in facts(plan)
        ),
        manifest=MANIFEST,
        request=REQUEST,
        sheet=SHEET,
    )
    return text.encode()


def tell_readers(out: Place, plan: Plan) -> None:
    """Write the README unless the user has one, and remove the contact sheet of earlier versions."""
    text = readme(plan)
    existing = _read_start(out / README, 2 * len(text))
    if existing != text and (not existing or MARK.encode() in existing):
        write_bytes(out / README, text)
    if sheet.NOTICE.encode() in _read_start(out / OLD_SHEET, 1000):
        remove(out / OLD_SHEET)


def _read_start(path: Place, size: int) -> bytes:
    try:
        return read_bytes(path, size)
    except FileNotFoundError:
        return b""


def _text(text: str) -> str:
    return html.escape(printable(text))


def _markdown(text: str) -> str:
    """Escape what Markdown would interpret."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&])", r"\\\1", printable(text))
