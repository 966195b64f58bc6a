"""A digital phantom of planar thyroid scintigraphy, to try things out where there are no scans.

We know of no open set of such scans. Here, each scan is drawn from published ranges, so the truth is
known: what a generator learnt of it can be measured. All of it is simulated, and shows no patient.

Sizes are in millimetres, volumes in millilitres, and uptakes in percent of the injected activity.
Numbers with a source are published (docs/phantoms.md lists the sources). All others are assumed.
"""

import dataclasses
import io
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from scangan.core.errors import PreprocessingError
from scangan.core.files import only_writer, read_bytes, write_bytes, write_json, write_jsonl
from scangan.core.folders import is_litter

Field: TypeAlias = npt.NDArray[np.float64]  # [256, 256], a value at each place of the fine grid

SIDE, PIXEL = 64, 3.0  # pixels, and millimetres a pixel: 19 cm of the neck, seen from the front
FINER = 4  # drawn on a grid so many times finer
SIMULATED = "Simulated by scangan make-phantoms: a phantom, not a patient."
REQUEST, TRUTH = "phantoms.json", "truth.jsonl"

# The camera
ACTIVITY = 185.0  # MBq (Loutfi et al. 2003)
SECONDS = 300.0
SENSITIVITY = 91.0  # counts a second and MBq: 202 counts a minute and µCi, a common LEHR collimator
ATTENUATION = math.exp(-0.15 * 2.0)  # 140 keV behind 2 cm of tissue, 0.15 / cm (Cherry et al. 2012)
BLUR = 7.0, 9.0  # full width at half maximum of LEHR collimators at 10 cm (Cherry et al. 2012)

# The gland: proportions from 90 cadavers (Joshi et al. 2010) and 60 (Shamkuwar and Bhuiyan 2022)
LENGTH, WIDTH, THICKNESS = (43.2, 42.2), (19.4, 20.7), (11.3, 11.8)  # right and left lobe
ISTHMUS = 13.1, 17.1  # height and width
NO_ISTHMUS, PYRAMIDAL = 0.167, 0.378  # how often
# The volume of an ellipsoid is pi / 6 times its axes.
VOLUME = (
    sum(math.pi / 6 * a * b * c for a, b, c in zip(LENGTH, WIDTH, THICKNESS, strict=True)) / 1000
)
# By ultrasound: mean and standard deviation of 56 healthy people and 30 patients; limits are assumed
NORMAL_VOLUME, GRAVES_VOLUME = (16.2, 5.9, 6.0, 40.0), (51.8, 24.4, 18.0, 130.0)

# Salivary glands: uptake (Anjos et al. 2006), and height and width by ultrasound
PAROTID, SUBMANDIBULAR = (0.31, 0.26), (0.15, 0.15)
PAROTID_SIZE, SUBMANDIBULAR_SIZE = (47.0, 22.0), (27.6, 13.3)  # the parotid's width is assumed
SALIVARY_SPREAD = 0.4  # assumed: standard deviation as a share of the mean
NODULE = 30.0, 55.0  # nearly all toxic nodules are 3 cm or larger (Hamburger 1980)
BACKGROUND = 0.055  # MBq a square centimetre: assumed, about a third of a normal gland's


@dataclasses.dataclass(frozen=True)
class Kind:
    """What sets a class apart.

    Parameters
    ----------
    uptake : tuple of float
        Mean, standard deviation, least and most, in percent of the injected activity.
    patients : int
        How many a clinic saw in its study, of 209.
    volume : tuple of float
        The same, in millilitres; it sets the size of the lobes.
    patchy : float
        Standard deviation of the texture as a share of the mean; assumed.
    nodule : bool
        Whether most of the uptake is in one nodule, and the rest of the gland is suppressed.
    """

    uptake: tuple[float, float, float, float]
    patients: int
    volume: tuple[float, float, float, float] = NORMAL_VOLUME
    patchy: float = 0.08
    nodule: bool = False


# Uptakes and numbers of patients are those of one study (Al-Muqbel 2022).
KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "diffuse_hyperthyroid": Kind((10.6, 10.0, 0.43, 40.0), 112, GRAVES_VOLUME, 0.05),
        "normal": Kind((1.5, 1.1, 0.17, 4.8), 54),
        "thyroiditis": Kind((0.5, 0.4, 0.18, 1.0), 17, patchy=0.3),
        "toxic_nodule": Kind((4.5, 4.0, 0.6, 15.0), 26, nodule=True),
    }
)


@dataclasses.dataclass(frozen=True)
class Truth:
    """What a phantom was drawn with.

    Parameters
    ----------
    file, class_name : str
        Path of the scan, and its class.
    uptake : float
        Percent of the injected activity in the gland.
    volume : float
        Volume of the gland in millilitres as it was drawn, without a nodule.
    nodule : float
        Diameter of the nodule in millimetres; 0 without one.
    resolution : float
        Full width at half maximum of the camera in millimetres.
    gland_counts, counts : int
        Expected counts from the gland alone, and all counts of the scan.
    """

    file: str
    class_name: str
    uptake: float
    volume: float
    nodule: float
    resolution: float
    gland_counts: int
    counts: int


def draw_phantom(name: str, seed: int, index: int) -> tuple[npt.NDArray[np.uint16], Truth]:
    """Draw one phantom; it depends on nothing but the arguments.

    Parameters
    ----------
    name : str
        A class of `KINDS`.
    seed, index : int
        Seed of the set, 0 to 2^32 - 1, and the scan's number in its class, from 0.

    Returns
    -------
    counts : ndarray
        uint16 [64, 64], counts in each pixel. The patient's right is on the left.
    truth : Truth
        What it was drawn with.
    """
    kind = KINDS[name]
    rng = np.random.default_rng([seed, sorted(KINDS).index(name), index])
    uptake, volume = _log_normal(rng, *kind.uptake), _log_normal(rng, *kind.volume)
    canvas = _Canvas(rng)
    gland, drawn, nodule = _gland(canvas, rng, kind, volume)
    gland *= uptake / 100 * ACTIVITY / gland.sum()
    resolution = float(rng.uniform(*BLUR))
    to_counts = SENSITIVITY * ATTENUATION * SECONDS
    activity = gland + _salivary(canvas, rng) + _tissue(canvas, rng)
    blurred = cv2.GaussianBlur(activity, (0, 0), resolution / 2.355 / canvas.step)
    expected = blurred.reshape(SIDE, FINER, SIDE, FINER).sum((1, 3)) * to_counts
    counts = np.minimum(rng.poisson(expected), 65_535).astype(np.uint16)
    truth = Truth(
        _file(name, index), name, uptake, drawn, nodule, resolution,
        round(gland.sum() * to_counts), int(counts.sum()),
    )  # fmt: skip
    return counts, truth


def phantom_counts(total: int) -> dict[str, int]:
    """Share out a number of phantoms, 4 or more, as a clinic's patients are; at least one a class."""
    patients = sum(kind.patients for kind in KINDS.values())
    exact = {name: total * kind.patients / patients for name, kind in KINDS.items()}
    counts = {name: max(1, math.floor(share)) for name, share in exact.items()}
    while (short := total - sum(counts.values())) != 0:
        step = 1 if short > 0 else -1
        may = [name for name in counts if counts[name] + step > 0]
        counts[max(may, key=lambda name: step * (exact[name] - counts[name]))] += step
    return counts


def write_phantoms(
    out: Path, counts: Mapping[str, int], seed: int, advance: Callable[[int], None] = lambda n: None
) -> bool:
    """Write a folder of phantoms: ``CLASS/000000.png``, 16 bits, and ``truth.jsonl``.

    ``phantoms.json`` says what is to be there, so a killed call is finished by the same call alone.

    Parameters
    ----------
    out : Path
        A folder that is new or empty.
    counts : mapping
        Number of phantoms of each class.
    seed : int
        Random seed, 0 to 2^32 - 1.
    advance : callable
        Called with the number of phantoms that were written since the last call.

    Returns
    -------
    bool
        Whether they were made; False if they were all there.

    Raises
    ------
    PreprocessingError
        The folder holds something else, or phantoms of another seed or count.
    """
    if out.exists() and not out.is_dir():
        raise PreprocessingError(f"{out} is a file; choose another OUT")
    request = {"seed": seed, "counts": dict(counts)}
    with only_writer(out / ".lock"):
        if _is_done(out, request, counts):
            return False
        write_json(out / REQUEST, request)
        truths = []
        for name, count in counts.items():
            (out / name).mkdir(exist_ok=True)
            for index in range(count):
                scan, truth = draw_phantom(name, seed, index)
                write_bytes(out / truth.file, _encoded(scan))
                truths.append(_line(truth))
                advance(1)
        write_jsonl(out / TRUTH, truths)  # last: it says that all are there
    return True


def _file(name: str, index: int) -> str:
    return f"{name}/{index:06d}.png"


def _is_done(out: Path, request: dict[str, object], counts: Mapping[str, int]) -> bool:
    """Whether the folder holds these phantoms already; refuse one that holds something else."""
    held = sorted(path.name for path in out.iterdir() if not is_litter(path.name))
    if held and REQUEST not in held:
        raise PreprocessingError(f"{out} holds something else ({held[0]}); choose another OUT")
    if held and _begun(out) != request:
        raise PreprocessingError(
            f"{out} holds phantoms of another seed or count; choose another OUT, or delete it"
        )
    files = (out / _file(name, index) for name, count in counts.items() for index in range(count))
    return TRUTH in held and all(map(Path.is_file, files))


def _begun(out: Path) -> object:
    """Read what an earlier call was to make; None if its file is damaged."""
    try:
        return json.loads(read_bytes(out / REQUEST))
    except ValueError:
        return None


def _line(truth: Truth) -> dict[str, object]:
    told = dataclasses.asdict(truth)
    return {"file": told.pop("file"), "class": told.pop("class_name")} | told


def _encoded(scan: npt.NDArray[np.uint16]) -> bytes:
    from PIL import Image, PngImagePlugin

    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", SIMULATED)
    out = io.BytesIO()
    Image.fromarray(scan).save(out, "png", pnginfo=text)
    return out.getvalue()


def _log_normal(
    rng: np.random.Generator,
    mean: float,
    deviation: float,
    least: float = 0,
    most: float = math.inf,
) -> float:
    """Draw from the log-normal distribution of this mean and deviation, until it is within limits."""
    variance = math.log(1 + (deviation / mean) ** 2)
    while True:
        value = float(rng.lognormal(math.log(mean) - variance / 2, math.sqrt(variance)))
        if least <= value <= most:
            return value


class _Canvas:
    """A fine grid of the neck, in millimetres from its centre; x grows to the right, y downwards."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.step = PIXEL / FINER
        axis = (np.arange(SIDE * FINER) + 0.5) * self.step - SIDE * PIXEL / 2
        # Nobody lies exactly straight; assumed.
        x, y = np.meshgrid(axis - rng.normal(0, 5), axis - rng.normal(0, 5))
        self.x, self.y = _turned(x, y, rng.normal(0, 4))

    def ellipsoid(
        self, at: tuple[float, float], size: tuple[float, float, float], degrees: float = 0.0
    ) -> Field:
        """Return how thick an ellipsoid is at each place; `size` is its height, width and thickness."""
        height, width, thickness = size
        x, y = _turned(self.x - at[0], self.y - at[1], degrees)
        inside = 1 - (x / (width / 2)) ** 2 - (y / (height / 2)) ** 2
        thick: Field = thickness * np.sqrt(np.maximum(inside, 0))
        return thick

    def texture(self, rng: np.random.Generator, spread: float, scale: float) -> Field:
        """Return a random field of mean 1, with blobs of about `scale` millimetres."""
        noise = cv2.GaussianBlur(rng.normal(size=self.x.shape), (0, 0), scale / 2 / self.step)
        field: Field = np.maximum(1 + spread * noise / noise.std(), 0)
        return field


def _turned(x: Field, y: Field, degrees: float) -> tuple[Field, Field]:
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return x * cosine + y * sine, y * cosine - x * sine


def _gland(
    canvas: _Canvas, rng: np.random.Generator, kind: Kind, volume: float
) -> tuple[Field, float, float]:
    """Return the gland's activity in any unit, its volume, and the diameter of its nodule."""
    scale = (volume / VOLUME) ** (1 / 3)
    low = 32 + rng.normal(0, 5)  # below the middle of the scan
    gap = 8 * scale  # between the lobes and the middle: the trachea lies there
    lobes, places = [], []
    for side, length, width, thickness in zip((-1, 1), LENGTH, WIDTH, THICKNESS, strict=True):
        size = [each * scale * rng.normal(1, 0.08) for each in (length, width, thickness)]
        at = side * (gap + size[1] / 2), low - rng.normal(0.1, 0.05) * size[0]
        lean = side * rng.normal(14, 5)  # lower poles lie closer together
        lobes.append(canvas.ellipsoid(at, (size[0], size[1], size[2]), lean))
        places.append((at, size))
    tissue = np.maximum(*lobes)
    middle = low + 0.15 * LENGTH[0] * scale
    if rng.random() >= NO_ISTHMUS:
        height, width = (each * scale * rng.normal(1, 0.15) for each in ISTHMUS)
        bridge = canvas.ellipsoid(
            (0, middle), (height, width + 2 * gap, 0.5 * THICKNESS[0] * scale)
        )
        tissue = np.maximum(tissue, bridge)
    if rng.random() < PYRAMIDAL:
        height, left = rng.uniform(15, 30) * scale, rng.uniform(0, 6)
        pyramid = (height, 6 * scale, 4 * scale)
        tissue = np.maximum(tissue, canvas.ellipsoid((left, middle - height / 2), pyramid, 5))
    drawn = float(tissue.sum()) * canvas.step**2 / 1000
    tissue *= canvas.texture(rng, kind.patchy, 8)
    if not kind.nodule:
        return tissue, drawn, 0.0
    diameter = float(rng.uniform(*NODULE))
    (x, y), (length, _, _) = places[int(rng.integers(2))]
    at = x + rng.normal(0, 3), y + rng.uniform(-0.25, 0.25) * length
    hot = canvas.ellipsoid(at, (diameter, diameter * rng.normal(1, 0.1), diameter))
    hot *= canvas.texture(rng, 0.1, 10)
    share = rng.uniform(0.75, 0.97)  # of the uptake, in the nodule
    return share * hot / hot.sum() + (1 - share) * tissue / tissue.sum(), drawn, diameter


def _salivary(canvas: _Canvas, rng: np.random.Generator) -> Field:
    """Return the activity in the four salivary glands, in MBq; their places are assumed."""
    total = np.zeros_like(canvas.x)
    pairs = ((PAROTID, PAROTID_SIZE, 52, -52), (SUBMANDIBULAR, SUBMANDIBULAR_SIZE, 28, -32))
    for uptakes, (height, width), far, up in pairs:
        both = rng.normal(1, 0.06, 2)
        for side, uptake in zip((-1, 1), uptakes, strict=True):
            at = side * (far + rng.normal(0, 3)), up + rng.normal(0, 4)
            size = height * both[0], width * both[1], width
            part = canvas.ellipsoid(at, size, side * rng.normal(10, 5))
            taken = _log_normal(rng, uptake, SALIVARY_SPREAD * uptake) / 100 * ACTIVITY
            total += taken * part / part.sum()
    return total


def _tissue(canvas: _Canvas, rng: np.random.Generator) -> Field:
    """Return the activity in neck and shoulders, in MBq a place of the grid; assumed."""
    shoulders = 1 / (1 + np.exp(-(canvas.y - 75) / 6))
    half_width = 62 + rng.normal(0, 4) + 60 * shoulders
    edge = 1 / (1 + np.exp((np.abs(canvas.x) - half_width) / 3))
    level = _log_normal(rng, BACKGROUND, 0.2 * BACKGROUND)
    return level * edge * canvas.texture(rng, 0.1, 40) * (canvas.step / 10) ** 2
