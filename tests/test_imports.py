"""Scripts that no other test runs import names that exist."""

import ast
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(
    file for folder in ("benchmarks", "results", "tools") for file in (ROOT / folder).rglob("*.py")
)


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.name)
def test_what_a_script_imports_from_scangan_exists(file):
    missing = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("scangan"):
            missing += [alias.name for alias in node.names if not _has(node.module, alias.name)]
    assert not missing


def _has(module, name):
    if hasattr(importlib.import_module(module), name):
        return True
    return importlib.util.find_spec(f"{module}.{name}") is not None
