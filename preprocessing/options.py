"""The options of `prep-scans`."""

import dataclasses
from typing import Literal, get_args

from scangan.artifacts.dataset_records import Settings
from scangan.core.errors import USAGE, PreprocessingError
from scangan.preprocessing.reading.wanted import Axis, Fit, Wanted, chosen_slices

Equalize = Literal["none", "global", "clahe"]
Duplicates = Literal["keep", "drop"]
WINDOWS = ("auto", "dataset", "image", "dicom")

SMALLEST, LARGEST = 16, 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepOptions:
    """The options of a prepared dataset, stored in its ``dataset.json``.

    Parameters
    ----------
    size : int
        Width and height of prepared scans in pixels, 16 to 1024.
    window : str
        How to map scans with more than 8 bits to 8: ``dataset`` (robust percentiles over all
        scans), ``image`` (over each scan), ``dicom`` (the window in the file; deep scans without
        one are rejected), ``LO,HI`` (the values to show black and white, in the file's units), or
        ``auto`` (``dicom`` if the file has a window, else ``dataset``).
    equalize : {"none", "global", "clahe"}
        Histogram equalisation before resizing: none, over the whole scan, or local and
        contrast-limited (CLAHE).
    clip : float
        CLAHE: maximum count of a histogram bin, relative to the mean; at least 1.
    tiles : int
        CLAHE: number of tiles along each side, 1 to 64.
    fit : {"pad", "crop", "stretch"}
        How to make a scan square: pad with black, crop to the centre, or stretch.
    ignore_spacing : bool
        Treat all pixels as square, whatever the file says.
    pixel_spacing : float, optional
        Resample to this many millimetres per pixel, then crop or pad around the centre. Files
        without a pixel spacing are rejected.
    axis : {"axial", "coronal", "sagittal"}
        Plane of the slices to take from a volume (NIfTI).
    slices : str, optional
        Slices, frames or pages to take from a file of several: ``10:90`` (numbers, end excluded) or
        ``0.2:0.8`` (fractions). By default, all.
    volume : int, optional
        Volume to take from a 4-D NIfTI file, from 0.
    duplicates : {"keep", "drop"}
        What to do with files that have the same bytes as an earlier one.
    """

    size: int = 64
    window: str = "auto"
    equalize: Equalize = "none"
    clip: float = 2.0
    tiles: int = 8
    fit: Fit = "pad"
    ignore_spacing: bool = False
    pixel_spacing: float | None = None
    axis: Axis = "axial"
    slices: str | None = None
    volume: int | None = None
    duplicates: Duplicates = "keep"

    def __post_init__(self) -> None:
        _check_range("--size", self.size, SMALLEST, LARGEST)
        _check_range("--clip", self.clip, 1, 1000)
        _check_range("--tiles", self.tiles, 1, 64)
        _check_choice("--equalize", self.equalize, get_args(Equalize))
        _check_choice("--fit", self.fit, get_args(Fit))
        _check_choice("--axis", self.axis, get_args(Axis))
        _check_choice("--duplicates", self.duplicates, get_args(Duplicates))
        if self.pixel_spacing is not None:
            _check_range("--pixel-spacing", self.pixel_spacing, 0.001, 1000)
        if self.volume is not None:
            _check_range("--volume", self.volume, 0, 1_000_000)
        if self.window not in WINDOWS and self.window_range is None:
            raise PreprocessingError(
                f"--window {self.window!r} is unknown; it takes {', '.join(WINDOWS)}, or LO,HI "
                f"with LO below HI",
                exit_code=USAGE,
            )
        chosen_slices(self.slices, 1)
        for name, goes, other in (
            ("clip", self.equalize == "clahe", "with --equalize clahe"),
            ("tiles", self.equalize == "clahe", "with --equalize clahe"),
            ("fit", self.pixel_spacing is None, "without --pixel-spacing"),
            ("ignore_spacing", self.pixel_spacing is None, "without --pixel-spacing"),
            ("ignore_spacing", self.fit != "stretch", "without --fit stretch"),
        ):
            if not goes and getattr(self, name) != getattr(PrepOptions, name):
                option = name.replace("_", "-")
                raise PreprocessingError(
                    f"--{option} only has an effect {other}; leave it out", exit_code=USAGE
                )

    @property
    def needs_spacing(self) -> str | None:
        """What pixel spacing is needed for: an option, or ``square`` pixels; None if for nothing."""
        if self.pixel_spacing is not None:
            return "--pixel-spacing"
        return None if self.ignore_spacing or self.fit == "stretch" else "square"

    @property
    def window_range(self) -> tuple[float, float] | None:
        """LO and HI of ``--window LO,HI``; None for a named window."""
        try:
            low, high = map(float, self.window.split(","))
        except ValueError:
            return None
        widest = max(abs(low), abs(high))
        # Within the range of float32, and with ends that float32 can distinguish.
        return (low, high) if widest < 1e30 and high - low > max(1e-6 * widest, 1e-20) else None

    def wanted(self, included: bool = False) -> Wanted:
        """Return what to read of each file; `included` as in `Wanted`."""
        # Averaging removes noise, so a scan decoded smaller has another histogram (by up to 3 grey
        # levels on average at 1/2, with a noisy dark background).
        in_full = self.equalize != "none" or self.pixel_spacing is not None
        return Wanted(
            included=included,
            size=None if in_full else self.size,
            fit=self.fit,
            voi=self.window in ("auto", "dicom"),
            needs_spacing=self.needs_spacing,
            axis=self.axis,
            slices=self.slices,
            volume=self.volume,
        )

    def to_dict(self) -> Settings:
        """Return the options as JSON values."""
        return dataclasses.asdict(self)


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise PreprocessingError(
            f"{name} {value} is out of range; it takes {low} to {high}", exit_code=USAGE
        )


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise PreprocessingError(
            f"{name} {value!r} is unknown; it takes {', '.join(known)}", exit_code=USAGE
        )
