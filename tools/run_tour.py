"""Execute docs/tour.ipynb in an empty folder, and keep what it shows.

    python tools/run_tour.py

It takes about ten minutes. Run it again whenever what the notebook shows has changed.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

TOUR = Path(__file__).parents[1] / "docs/tour.ipynb"
PROGRESS = re.compile(r".* left\n")  # of interest only while it is new


def execute(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Execute a notebook in a folder; its outputs are kept in it."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    cache = str(folder / ".cache")
    client = NotebookClient(
        notebook,
        timeout=None,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=os.environ | {"PATH": path, "XDG_CACHE_HOME": cache})
    for cell in notebook.cells:
        for output in list(cell.get("outputs", [])):
            if output["output_type"] == "stream":
                output["text"] = PROGRESS.sub("", output["text"]).rstrip("\n") + "\n"
                if output["text"] == "\n":  # nothing but progress
                    cell.outputs.remove(output)


def main() -> None:
    """Execute the tour, and write it back."""
    notebook = nbformat.read(TOUR, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        execute(notebook, Path(folder))
    nbformat.write(notebook, TOUR)
    print(f"executed: {TOUR}")


if __name__ == "__main__":
    main()
