"""The names of bundled starting weights. They are read in `starting_weights`, which needs torch."""

from pathlib import Path

FOLDER = Path(__file__).parent / "weights"


def starting_names() -> list[str]:
    """Return the names of the bundled starting weights."""
    return sorted(file.stem for file in FOLDER.glob("*.safetensors"))


def bundled_file(name: str) -> Path:
    """Return the file of bundled starting weights."""
    return FOLDER / f"{name}.safetensors"
