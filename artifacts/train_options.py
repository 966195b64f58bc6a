"""The options of `train-gan`. A recipe is a set of values for them."""

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from scangan.core.errors import USAGE, TrainingError
from scangan.core.printable import QUOTED, quoted

SIZES = (16, 32, 64, 128, 256, 512)
HEADS = ("auxiliary", "auxiliary-normalized", "projection", "projection+auxiliary-normalized")
OPERATIONS = ("brightness", "contrast", "translation", "cutout", "flip")
FEWEST_TICKS = 4  # a run is scored and saved at least this often
TICK = 20.0  # kimg
NARROWEST, WIDEST, LOWEST_RATE = 4, 512, 1e-9  # limits that error messages respect in their advice


def option(
    default: Any,
    help: str,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[Any, ...] | None = None,
) -> Any:
    """Make a field with its help and its valid values: numbers from `low` to `high`, or `choices`."""
    metadata = {"help": help, "low": low, "high": high, "choices": choices}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """The options of a run, stored in its ``config.json``. The defaults are the recipe ``stable``.

    Each field's metadata holds one line of help and the valid values. A value of the wrong type or
    out of range raises `TrainingError`.
    """

    # What to train, and for how long
    arch: str = option(
        "acgan",
        "dcgan ignores the class; acgan generates scans of the class you ask for",
        choices=("dcgan", "acgan"),
    )
    per_class: bool = option(False, "train one DCGAN per class; the export joins them")
    size: int = option(64, "width and height of the scans in pixels", choices=SIZES)
    kimg: float = option(400.0, "length of the run in thousands of real scans shown", 0.001, 1e9)
    batch: int = option(16, "scans per step, a multiple of 4", 4, 4096)
    seed: int = option(0, "random seed", 0, 2**32 - 1)
    tick: float | None = option(
        None, "score and save every this many kimg, and at least four times in a run", 0.001, 1e9
    )
    patience: float = option(200.0, "stop if nothing improves for this many kimg; 0: never", 0, 1e9)
    held_back: float = option(0.15, "share of the scans held back for scoring", 0, 0.5)

    # Networks
    width: int = option(32, "channels of the feature maps closest to the image", NARROWEST, WIDEST)
    latent: int = option(100, "length of the latent z", 1, 4096)
    first_map: int = option(4, "side of the generator's first feature map", choices=(4, 8))
    conditioning: str = option(
        "norm", "how the generator gets the class: through BatchNorm, or as an embedding times z",
        choices=("norm", "product"),
    )  # fmt: skip
    leak: float = option(0.0, "slope of the generator's LeakyReLU; 0: ReLU", 0, 0.9)
    spectral_norm: bool = option(True, "spectral norm in the discriminator")
    minibatch_std: bool = option(True, "minibatch standard deviation in the discriminator")
    batch_norm: bool = option(False, "BatchNorm in the discriminator")
    dropout: float = option(0.0, "dropout in the discriminator", 0, 0.9)
    pool: str = option(
        "sum", "the discriminator's last 4x4 map: summed over positions, or flattened",
        choices=("sum", "flatten"),
    )  # fmt: skip
    residual: bool = option(
        False, "residual blocks in the discriminator, instead of one layer per map"
    )
    head: str = option(
        "projection+auxiliary-normalized", "how the discriminator uses the class", choices=HEADS
    )

    # Objective
    loss: str = option("hinge", "adversarial loss", choices=("bce", "hinge", "relativistic"))
    label_smoothing: float = option(0.0, "bce: the target of real scans is 1 minus this", 0, 0.5)
    label_flip: float = option(0.0, "bce: share of scans with flipped labels", 0, 0.5)
    instance_noise: float = option(0.0, "initial standard deviation of noise on D's input", 0, 2)
    noise_kimg: float = option(100.0, "kimg in which instance noise fades to 0", 0.001, 1e9)
    g_steps: int = option(1, "generator updates per discriminator update", 1, 16)
    r1: float = option(0.0, "weight of the gradient penalty on real scans", 0, 1e6)
    r2: float = option(0.0, "weight of the gradient penalty on synthetic scans", 0, 1e6)
    penalty_every: int = option(16, "steps between gradient penalties", 1, 1000)
    lecam: float = option(0.0, "weight of the LeCam penalty; needs the hinge loss", 0, 1e6)
    feature_weight: float = option(
        0.0, "weight of discriminators that look through frozen features; 0: none", 0, 1e6
    )
    feature_every: int = option(4, "steps between two looks through frozen features", 1, 1000)
    aux_weight: float = option(0.5, "weight of the auxiliary classifier's loss", 0, 1e6)
    aux_on_fake: bool = option(False, "train D's classifier on synthetic scans too")

    # Optimisers
    lr_g: float = option(4e-4, "learning rate of the generator", LOWEST_RATE, 1.0)
    lr_d: float = option(4e-4, "learning rate of the discriminator", LOWEST_RATE, 1.0)
    lr_schedule: str = option(
        "constant",
        "learning rate schedule; you cannot change kimg of a started run if rates decay",
        choices=("constant", "linear"),
    )
    lr_hold: float = option(0.0, "share of the run before learning rates decay", 0, 0.99)
    beta1: float = option(0.5, "Adam's beta1", 0, 0.9999)
    beta2: float = option(0.999, "Adam's beta2", 0, 0.999999)

    # Against collapse on small datasets
    mirror: bool = option(False, "mirror half of the real scans left to right")
    augment: tuple[str, ...] = option(
        ("brightness", "contrast", "translation"),
        "DiffAugment: operations to apply",
        choices=OPERATIONS,
    )
    augment_p: float = option(1.0, "probability of each operation; if adaptive, its maximum", 0, 1)
    augment_target: float = option(
        0.0, "adaptive: target for the mean sign of D on real scans; 0: off", 0, 1
    )
    augment_kimg: float = option(
        100.0, "adaptive: kimg in which the probability can go from 0 to 1", 1, 1e9
    )
    ema_kimg: float = option(10.0, "half-life of the generator's moving average, in kimg", 0, 1e9)
    ema_warmup: float = option(
        0.05, "limit the half-life to this share of the scans seen", 0.001, 1
    )
    balanced: bool = option(True, "acgan: show every class equally often")
    ramp_start: float = option(0.0, "kimg at which conditioning on the class starts", 0, 1e9)
    ramp_end: float = option(0.0, "kimg at which conditioning on the class is complete", 0, 1e9)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check(field, getattr(self, field.name))
        if self.batch % 4:
            # Minibatch standard deviation works on groups of four.
            raise _refusal(
                f"--batch {self.batch} is not a multiple of 4; try {-(-self.batch // 4) * 4}"
            )
        if self.ramp_end < self.ramp_start:
            raise _refusal(
                f"ramp_end {self.ramp_end:g} is below ramp_start {self.ramp_start:g}; raise it"
            )
        if self.per_class and self.arch != "dcgan":
            raise _refusal(
                "--per-class trains unconditional GANs; add --arch dcgan, or --no-per-class"
            )

    @property
    def steps(self) -> int:
        """Length of the run in discriminator updates."""
        return max(1, round(self.kimg * 1000 / self.batch))

    def kimg_at(self, step: int) -> float:
        """Return how many thousand real scans were shown after `step` steps."""
        return step * self.batch / 1000

    @property
    def by_class(self) -> bool:
        """Whether scans are generated and scored by class."""
        return self.arch == "acgan" or self.per_class

    def is_tick(self, step: int) -> bool:
        """Whether to score and save after `step` steps. Ticks are evenly spaced; the last step is one."""
        wanted = (TICK if self.tick is None else self.tick) * 1000 / self.batch
        ticks = max(round(self.steps / wanted), min(FEWEST_TICKS, self.steps))
        ticks = min(ticks, self.steps)
        return step * ticks // self.steps > (step - 1) * ticks // self.steps

    def to_dict(self) -> dict[str, object]:
        """Return the options as JSON values."""
        values = dataclasses.asdict(self)
        return values | {"augment": list(self.augment)}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> "TrainOptions":
        """Make options from JSON or TOML values; missing ones get their default.

        Raises
        ------
        TrainingError
            A key does not exist (the message suggests the nearest one), or a value is invalid.
        """
        known = {field.name: field for field in dataclasses.fields(cls)}
        for key in values:
            if key not in known:
                raise _refusal(f"there is no option {quoted(key)}{nearest(key, known)}")
        return cls(**{key: _typed(known[key], value) for key, value in values.items()})


def _plain(value: object) -> str:
    """Show a value as it was typed, unless it is long or would not be seen."""
    text = str(value)
    return text if len(text) <= QUOTED and text.isprintable() else quoted(value)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean ...?)``, or an empty text if no known name is close."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f" (did you mean {close[0]}?)" if close else ""


def describe_options() -> list[str]:
    """Return one line for each option: name, default, help and valid values."""
    lines = []
    for field in dataclasses.fields(TrainOptions):
        low, high, choices = (field.metadata[key] for key in ("low", "high", "choices"))
        default = TICK if field.name == "tick" else field.default
        if isinstance(default, tuple):
            default = ",".join(default)
        takes = f"{_limit(low)} to {_limit(high)}" if low is not None else ""
        takes = ", ".join(map(str, choices)) if choices else takes
        known = f"{field.name} = {str(default).lower() if isinstance(default, bool) else default}"
        lines.append(f"{known:<46}  {field.metadata['help']}" + (f" ({takes})" if takes else ""))
    return lines


def parse_assignment(text: str) -> tuple[str, object]:
    """Parse ``key=value`` into an option's name and its value, in the option's type.

    Raises
    ------
    TrainingError
        There is no such option, or the value has the wrong type.
    """
    key, equals, value = text.partition("=")
    key = key.strip().replace("-", "_")
    known = {field.name: field for field in dataclasses.fields(TrainOptions)}
    if not equals:
        raise _refusal(f"--set {text!r} is not key=value; for example --set width=64")
    if key not in known:
        raise _refusal(
            f"--set {text}: there is no option {key!r}{nearest(key, known)}; see train-gan --list-options"
        )
    return key, _typed(known[key], value.strip())


def _typed(field: dataclasses.Field[Any], value: Any) -> Any:
    """Convert `value`, from a JSON or TOML file or from command line text, to the field's type."""
    if value is None and field.default is None:
        return None
    kind = _kind(field)
    try:
        if kind is tuple:
            parts = value.split(",") if isinstance(value, str) else value
            return tuple(part.strip() for part in parts if part.strip())
        if kind is bool:
            return {"true": True, "false": False}[str(value).lower()]
        if isinstance(value, bool) or (kind is int and float(value) % 1):
            raise ValueError
        if kind is int:  # a float would round a long number
            return int(value) if str(value).strip("+-").isdecimal() else int(float(value))
        return kind(value)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        kinds = {
            int: "a whole number",
            float: "a number",
            bool: "true or false",
            tuple: "a list of names",
        }
        raise _refusal(f"{field.name} {quoted(value)} is not {kinds.get(kind, 'text')}") from None


def _kind(field: dataclasses.Field[Any]) -> type:
    return float if field.default is None else type(field.default)


def _check(field: dataclasses.Field[Any], value: Any) -> None:
    if value is None and field.default is None:
        return
    kind = _kind(field)
    fits = isinstance(value, (float, int) if kind is float else kind)
    if not fits or isinstance(value, bool) != (kind is bool):
        raise _refusal(f"{field.name} {quoted(value)} is not of type {kind.__name__}")
    low, high, choices = (field.metadata[key] for key in ("low", "high", "choices"))
    if choices is not None:
        for part in value if isinstance(value, tuple) else (value,):
            if part not in choices:
                takes = ", ".join(map(str, choices))
                raise _refusal(f"{_shown(field)} {_plain(part)} is not supported; it takes {takes}")
    elif low is not None and not low <= value <= high:
        raise _refusal(
            f"{_shown(field)} {_plain(value)} is out of range; it takes {_limit(low)} to {_limit(high)}"
        )


def _limit(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _shown(field: dataclasses.Field[Any]) -> str:
    return f"--{field.name.replace('_', '-')}" if field.name in COMMAND_LINE else field.name


def _refusal(message: str) -> TrainingError:
    return TrainingError(message, exit_code=USAGE)


# Options with a flag of their own; the others are set with --set.
COMMAND_LINE = (
    "arch", "per_class", "size", "kimg", "batch", "width", "latent", "seed", "tick", "patience",
    "mirror",
)  # fmt: skip
