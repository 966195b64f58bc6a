"""Export runs to model files."""

from typing import TYPE_CHECKING

from scangan.core.errors import ExportError as ExportError
from scangan.core.lazy import lazily

if TYPE_CHECKING:
    from scangan.export.exporter import export_run as export_run

__all__ = [
    "ExportError",
    "export_run",
]

__getattr__ = lazily(
    __name__,
    {
        "export_run": "scangan.export.exporter",
    },
)
