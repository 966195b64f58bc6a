"""Runs to model files."""

from typing import TYPE_CHECKING, Any

from scangan.core.errors import ExportError as ExportError

if TYPE_CHECKING:
    from scangan.export.exporter import export_run as export_run

__all__ = ["ExportError", "export_run"]


def __getattr__(name: str) -> Any:
    # Lazy: `export-onnx --help` must not wait for torch.
    if name == "export_run":
        from scangan.export.exporter import export_run

        return export_run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
