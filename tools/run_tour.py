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
PASSING = re.compile(r".* left\n")  # lines of progress, of interest only while they are new


def execute(notebook: nbformat.NotebookNode, folder: str | Path) -> None:
    """Execute a notebook in a folder; its outputs are kept in it."""
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    client = NotebookClient(
        notebook, timeout=None, record_timing=False, resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output["output_type"] == "stream":
                output["text"] = PASSING.sub("", output["text"].replace("\r\n", "\n"))


def main() -> None:
    """Execute the tour, and write it back."""
    notebook = nbformat.read(TOUR, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        execute(notebook, folder)
    nbformat.write(notebook, TOUR)
    print(f"executed: {TOUR}")


if __name__ == "__main__":
    main()
