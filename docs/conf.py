"""How Sphinx builds the documentation: ``make docs``, without a network."""

import re
from importlib import metadata
from pathlib import Path
from typing import Any

from scangan.core.devices import CPU, Device
from scangan.runtime import DEFAULT_MODEL
from scangan.runtime.catalog import open_model
from scangan.runtime.demo import SCRIPT, write_demo

project = "scangan"
author = "the scangan authors"
copyright = "the scangan authors, Apache-2.0"
release = metadata.version("scangan")

if SCRIPT.is_file():
    tags.add("page")  # noqa: F821

extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx_click"]
exclude_patterns = ["_build"]
smartquotes = False  # two hyphens begin an option
html_theme = "furo"
html_title = f"scangan {release}"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_use_index = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}

nb_execution_mode = "off"  # tools/run_tour.py executes the notebook
myst_heading_anchors = 3  # links such as recipes.md#keras, as on GitHub
myst_links_external_new_tab = False

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # autodoc lists them already

# The tables of benchmarks/results are all on one page here; on GitHub, each is a file of its own.
RESULTS = re.compile(r"\]\((?:\.\./)+benchmarks/results/([\w-]+)\.md\)")


def _results_are_on_one_page(app: Any, page: str, source: list[str]) -> None:
    source[0] = RESULTS.sub(r"](/benchmarks.md#results-\1)", source[0])


def _help_is_plain_text(app: Any, context: Any, lines: list[str]) -> None:
    """Keep sphinx-click from reading a star or a backquote of a help text as markup."""
    lines[:] = [
        line if line.lstrip().startswith((".. ", ":", "``")) else re.sub(r"(?=[*`|])", r"\\", line)
        for line in lines
    ]


def _examples_are_literal(app: Any, context: Any, lines: list[str]) -> None:
    """Show the examples in a help text as they are typed, not as a poem."""
    text = "\n".join(lines)
    lines[:] = re.sub(r"(?:^\|.*\n)+", _literal, text, flags=re.MULTILINE).split("\n")


def _literal(block: re.Match[str]) -> str:
    return ".. code-block:: text\n\n" + block[0].replace("| ", "   ", 1).replace("\n| ", "\n   ")


def _named_arguments(app: Any, context: Any, lines: list[str]) -> None:
    """Leave out an argument that the help does not show."""
    if lines and lines[0].strip() == ".. option::":
        lines.clear()


def _write_page(app: Any, exception: Exception | None) -> None:
    """Write the page of the bundled model, which the first page shows."""
    if not exception and tags.has("page"):  # noqa: F821
        file = open_model(DEFAULT_MODEL, Device("cpu", CPU))
        write_demo(file, DEFAULT_MODEL, Path(app.outdir) / "_static" / f"{DEFAULT_MODEL}.html")


def setup(app: Any) -> None:
    """Register what happens to pages and help texts before they are parsed."""
    app.connect("build-finished", _write_page)
    app.connect("source-read", _results_are_on_one_page)
    app.connect("sphinx-click-process-description", _examples_are_literal)
    app.connect("sphinx-click-process-options", _help_is_plain_text)
    app.connect("sphinx-click-process-arguments", _named_arguments)
