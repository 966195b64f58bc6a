"""The model card: the metadata of a model file."""

import dataclasses
import hashlib
import json
import operator
import unicodedata
from typing import Any

from scangan.core.class_names import as_seen, normal, with_normal_names
from scangan.core.errors import USAGE, GenerationError, fault_of
from scangan.core.printable import quoted
from scangan.core.versions import why_newer

FORMAT_VERSION = 1
KEY = "scangan"  # the card's key in the metadata_props of an ONNX file
ARCHITECTURES = ("dcgan", "acgan")
PRECISIONS = ("fp32", "fp16", "int8")
ALL = "all"  # for the count of a model without classes
MOST_LISTED = 12  # classes in an error
_TYPES = {"architecture": str, "latent": int, "classes": tuple, "size": int, "graph_sha256": str}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelCard:
    """The metadata of a model file, one JSON value in ``metadata_props["scangan"]``.

    The card holds no hash of a single scan: a hash would let anyone test whether a given patient was
    in the training set.

    Parameters
    ----------
    architecture : {"dcgan", "acgan"}
        Kind of generator; a dcgan with classes holds one generator per class.
    latent : int
        Length of `z`, 1 to 4096.
    classes : tuple of str
        Class names in the order of `label`; empty for an unconditional model.
    size : int
        Width and height of the scans in pixels, 8 to 4096.
    graph_sha256 : str
        SHA-256 of the serialised graph in hexadecimal.
    bit_depth : int
        Bits per pixel: 8; 16 is reserved.
    value_range : tuple of int
        Smallest and largest grey level.
    preprocessing : dict
        Options that the training scans were prepared with.
    dataset_fingerprint : str
        SHA-256 over all training scans and labels together.
    dataset_counts : dict
        Number of scans per class in the run's dataset, including those held back; without classes, that
        of `ALL`.
    recipe : dict
        Name of the training recipe, its options, when in the run the generator was kept, how many scans
        of each class were synthetic, if any, and what the run started from, if not from random weights.
    scores : dict
        Scores, with the number of scans that they were measured on.
    judged : dict
        Figures of an evaluation in several feature spaces (``eval-scans report --write-model``), and
        the version of scangan that measured them: ``spaces``, the name of a space, the name of a
        figure, and then its value, interval and those of real scans.
    precision : str
        Precision of the weights: ``fp32``, ``fp16`` or ``int8``.
    fidelity : dict
        For int8 only: which layers stay in float, and how far the scans are from float32's.
    parity : int
        Largest difference from the trained generator in grey levels.
    license, citation : str
        Licence and citation of the training scans.
    versions : dict
        Versions of the training tools, and of ``onnx``, which wrote the file.
    date : str
        Start of the run, ISO 8601.
    format_version : int
        Format version of the card.

    Raises
    ------
    GenerationError
        A field has the wrong type or an impossible value.
    """

    architecture: str
    latent: int
    classes: tuple[str, ...]
    size: int
    graph_sha256: str
    bit_depth: int = 8
    value_range: tuple[int, int] = (0, 255)
    preprocessing: dict[str, Any] = dataclasses.field(default_factory=dict)
    dataset_fingerprint: str = ""
    dataset_counts: dict[str, int] = dataclasses.field(default_factory=dict)
    recipe: dict[str, Any] = dataclasses.field(default_factory=dict)
    scores: dict[str, Any] = dataclasses.field(default_factory=dict)
    judged: dict[str, Any] = dataclasses.field(default_factory=dict)
    precision: str = "fp32"
    fidelity: dict[str, Any] = dataclasses.field(default_factory=dict)
    parity: int = 0
    license: str = ""
    citation: str = ""
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    date: str = ""
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            default = getattr(type(self), field.name, None)
            wanted = type(default) if default is not None else _TYPES.get(field.name, dict)
            value = getattr(self, field.name)
            # In Python, true and false are integers; in a card they are not.
            if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
                raise GenerationError(f"the card's {field.name} is not of type {wanted.__name__}")
        if self.architecture not in ARCHITECTURES:
            raise GenerationError(
                f"the card names an unknown architecture: {quoted(self.architecture)}"
            )
        if not (1 <= self.latent <= 4096 and 8 <= self.size <= 4096):
            raise GenerationError(
                f"the card declares impossible sizes: latent {quoted(self.latent)}, "
                f"{quoted(self.size)} pixels"
            )
        if self.bit_depth != 8:
            raise GenerationError(
                f"the card declares {quoted(self.bit_depth)} bits; only 8 can be read"
            )
        if len(set(self.classes)) != len(self.classes):
            raise GenerationError("the card names a class twice")
        named = tuple(map(normal, self.classes))
        if len(set(named)) == len(named):  # else an old model has two classes with one normal form
            object.__setattr__(self, "classes", named)
        if any(not name or has_controls(name) for name in self.classes):
            raise GenerationError("the card has a class name that is empty or cannot be printed")
        try:
            _dump(dataclasses.asdict(self)).encode()
        except UnicodeEncodeError as error:
            raise GenerationError(
                "the card has half a surrogate pair in a text, which cannot be written"
            ) from error

    def class_number(self, wanted: str | int, file: str = "the model") -> int:
        """Turn a class name or number into the number; a name wins over a number.

        Anything else may be a class name in another case, or the start of one, if only one matches.

        Raises
        ------
        GenerationError
            No class matches, or several do; the message lists them.
        """
        if isinstance(wanted, str):
            wanted = wanted if wanted in self.classes else normal(wanted)
            if wanted in self.classes:
                return self.classes.index(wanted)
        if not self.classes:
            raise GenerationError(f"{file} has no classes; leave out --class", exit_code=USAGE)
        try:
            number = int(wanted) if isinstance(wanted, str) else operator.index(wanted)
        except (ValueError, TypeError):
            number = -1
        if 0 <= number < len(self.classes):
            return number
        start, seen = as_seen(str(wanted)), list(map(as_seen, self.classes))
        meant = [i for i, name in enumerate(seen) if name == start]
        if not meant and start and number < 0 and not start.startswith("-"):
            meant = [i for i, name in enumerate(seen) if name.startswith(start)]
        if len(meant) == 1:
            return meant[0]
        listed = [f"{i} {name}" for i, name in enumerate(self.classes) if not meant or i in meant]
        if len(listed) > MOST_LISTED:
            listed[MOST_LISTED - 1 : -1] = ["..."]
        known = ", ".join(listed)
        if meant:
            message = f"class {str(wanted)!r} could be any of: {known}; give its number"
        else:
            message = f"{file} has no class {str(wanted)!r}; it has: {known}"
        raise GenerationError(message, exit_code=USAGE)

    def to_json(self) -> str:
        """Return the card as one JSON value, with its own SHA-256 as `card_sha256`."""
        fields = dataclasses.asdict(self)
        return _dump(fields | {"card_sha256": _sha256(fields)})

    @classmethod
    def from_json(cls, text: str) -> "ModelCard":
        """Read a card, ignoring unknown fields.

        Raises
        ------
        GenerationError
            The card is damaged, incomplete, or of a newer format.
        """
        try:
            fields = json.loads(text)
            if newer := why_newer("the model", fields["format_version"], FORMAT_VERSION):
                raise GenerationError(newer)
            seal = fields.pop("card_sha256", None)  # the first releases wrote none
            if seal is not None and seal != _sha256(fields):
                raise GenerationError(
                    "the card was changed after it was written; copy or export the model again"
                )
            known = {field.name for field in dataclasses.fields(cls)}
            fields = {name: value for name, value in fields.items() if name in known}
            if not isinstance(fields["classes"], list):
                raise ValueError("classes are not a list")
            for key in ("dataset_counts", "scores"):
                fields[key] = json.loads(
                    json.dumps(fields.get(key, {})), object_pairs_hook=with_normal_names
                )
            fields["classes"] = tuple(map(str, fields["classes"]))
            fields["value_range"] = tuple(fields.get("value_range", (0, 255)))
            return cls(**fields)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise GenerationError(
                f"the card is damaged: {fault_of(error)}; copy or export the model again"
            ) from error


def has_controls(text: str) -> bool:
    """Return whether a text has characters that break a line or control a terminal."""
    return any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in text)


def _dump(fields: dict[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False, sort_keys=True)


def _sha256(fields: dict[str, Any]) -> str:
    return hashlib.sha256(_dump(fields).encode()).hexdigest()
