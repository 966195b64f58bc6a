"""Records of a quality evaluation: ``result.json`` of ``eval-scans quality``."""

from pathlib import PurePath

from msgspec import field
from msgspec.structs import replace

from scangan.artifacts.records import Record
from scangan.evaluation.scan_set import SetInfo

FORMAT = 1


class Figure(Record, frozen=True, kw_only=True):
    """One figure, beside what real scans score against real scans of the same number.

    Parameters
    ----------
    value : float
        The figure of the synthetic scans.
    low, high : float
        Its 95% interval.
    n_real, n_synthetic : int
        Scans on each side of one comparison.
    real : float or None
        The same figure of other real scans in the place of the synthetic ones; None where it makes
        no sense.
    real_low, real_high : float or None
        Its 95% interval.
    """

    value: float
    low: float
    high: float
    n_real: int
    n_synthetic: int
    real: float | None = None
    real_low: float | None = None
    real_high: float | None = None


class Figures(Record, frozen=True):
    """A figure over all classes, and within each."""

    overall: Figure | None = None  # None if it exists only within classes
    classes: dict[str, Figure] = field(default_factory=dict)


class Space(Record, frozen=True):
    """The figures in one feature space.

    Parameters
    ----------
    extractor : str
        Its name.
    source : str
        Architecture and origin of the network.
    sha256 : str
        SHA-256 of its file.
    picked_checkpoint : bool
        Whether ``train-gan`` picks checkpoints with this network, so that it is not independent.
    figures : dict
        By name of the metric.
    named_as : dict
        For each class asked for, how many synthetic scans the probe assigned to each class: means over
        the splits. Empty if there is one class.
    """

    extractor: str
    source: str
    sha256: str
    picked_checkpoint: bool
    figures: dict[str, Figures]
    named_as: dict[str, dict[str, float]]


class QualityResult(Record, frozen=True):
    """Everything that a quality evaluation found.

    Parameters
    ----------
    format_version : int
        Version of this record.
    scangan : str
        Version of scangan.
    real, synthetic : SetInfo
        The two sets.
    spaces : dict
        The figures in each feature space, by extractor.
    pixels : dict
        Figures of the pixels, by name.
    repeats : int
        Random halves that the figures are means over.
    seed : int
        Random seed of the halves.
    notes : tuple of str
        What a reader has to know: scans left out, sizes changed, too few scans.
    """

    format_version: int
    scangan: str
    real: SetInfo
    synthetic: SetInfo
    spaces: dict[str, Space]
    pixels: dict[str, Figures]
    repeats: int
    seed: int
    notes: tuple[str, ...]

    def without_folders(self) -> "QualityResult":
        """Return the result with each file of an own network named without its folder.

        A folder may name a person. Files that share a name get a number.
        """
        short = [_without_folder(name) for name in self.spaces]
        spaces: dict[str, Space] = {}
        for (name, space), new in zip(self.spaces.items(), short, strict=True):
            source = space.source if new == name else PurePath(space.source).name
            count = short[: len(spaces)].count(new)
            key = f"{new} ({count + 1})" if count else new
            spaces[key] = replace(space, extractor=key, source=source)
        return replace(self, spaces=spaces)


def _without_folder(extractor: str) -> str:
    """Return ``net.onnx:/a/tensor`` for ``folder/net.onnx:/a/tensor``."""
    file, colon, tensor = extractor.partition(".onnx:")
    return PurePath(file).name + colon + tensor
