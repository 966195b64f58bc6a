"""The tour: each of its cells runs, and what it shows has been run and shows no path of a machine."""

import shlex
from pathlib import Path
from runpy import run_path

import nbformat
import pytest
from click.testing import CliRunner
from few_scores import score_few
from programs import main_of

ROOT = Path(__file__).parents[1]
SHORTER = {  # seconds instead of ten minutes
    "--count 800": "--count 200",
    "--size 64": "--size 32",
    "--kimg 120": "--size 32 --kimg 0.32 --tick 0.32 --width 8",
    "sample(300, name)": "sample(20, name)",
    "--out report": "--count 20 --seeds 1 --out report",
}
FIGURES = 5


@pytest.fixture
def tour():
    return nbformat.read(ROOT / "docs/tour.ipynb", as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def type_in(line):
    """Run a command in this process: each would take seconds to start."""
    program, *argv = shlex.split(line)
    done = CliRunner().invoke(main_of(program), argv)
    assert done.exit_code == 0, f"{line}\n{done.output}"


@pytest.mark.usefixtures("quick_commands")
def test_each_cell_runs(tour, tmp_path, monkeypatch):
    figures, names = [], {}
    score_few(monkeypatch.setattr)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: figures.append(1))
    sources = [cell.source for cell in code(tour)]
    for long, short in SHORTER.items():
        assert sum(long in source for source in sources) == 1, long
        sources = [source.replace(long, short) for source in sources]
    for source in sources:
        magic, _, lines = source.partition("\n")
        if magic == "%%sh":
            for line in lines.splitlines():
                type_in(line)
        else:
            exec(compile(source, "cell", "exec"), names)
    assert (tmp_path / "report/report.html").exists() and (tmp_path / "more").is_dir()
    assert len(figures) == FIGURES


def test_a_notebook_is_executed_without_its_progress(tmp_path):
    """In a kernel and a folder of its own, as `tools/run_tour.py` does."""
    words = "echo '3 of 9 scans, 2 scans/s, 0:00:03 left'; "
    cells = [f"%%sh\n{words}echo made > here; cat here", f"%%sh\n{words}", "open('here').read()"]
    notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, cells)))
    run_path(str(ROOT / "tools/run_tour.py"))["execute"](notebook, tmp_path)
    assert list(texts(notebook)) == ["made\n", "'made\\n'"]


def texts(notebook):
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            yield output.get("text") or output["data"].get("text/plain", "")


def test_what_it_shows_was_run_in_order_and_names_no_folder_of_a_machine(tour):
    ran = [cell.execution_count for cell in code(tour)]
    assert ran == list(range(1, len(ran) + 1))
    said = "\n".join(texts(tour))
    assert "Traceback" not in said and not any(
        word in said for word in ("/tmp", "/home", "/root", "/work")
    )
    outputs = [output for cell in tour.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == FIGURES
