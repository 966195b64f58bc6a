"""The commands that faults are tried on: their inputs, their words, and what of an output may differ."""

import dataclasses
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from conftest import BRAIN, CLASSES

TINY = ["--size", "16", "--width", "4", "--batch", "16", "--kimg", "0.128", "--tick", "0.064",
        "--set", "latent=8"]  # fmt: skip
OTHER_SCANS = r"prepared from other scans|could not be read then"


@dataclasses.dataclass(frozen=True)
class Command:
    """A command to be run in a folder with ``in``, and what it writes to ``out``."""

    title: str
    argv: tuple[str, ...]
    inputs: str  # name of a folder of the templates, which becomes ``in``
    last: str  # the file that says that all is there
    heavy: bool = False  # needs torch
    # Of a run that goes on, these files grow: before the end they may be those of an earlier moment.
    grows: str = "(?!)"
    # What differs from run to run, and why it may.
    differs: dict[str, str] = dataclasses.field(default_factory=dict)
    plain: Callable[[str, bytes, Path], bytes] = lambda name, data, root: data
    # Where an input is other than it was, the same command again may refuse so.
    refuses: str = "(?!)"

    @property
    def called(self):
        """What its errors begin with."""
        return " ".join(self.argv[: 2 if self.argv[0] == "scangan" else 1])

    def tree(self, root):
        """Every file of the output, without what may differ."""
        out = root / "out"
        return {
            name: self.plain(name, path.read_bytes(), root)
            for path in sorted(out.rglob("*"))
            if path.is_file()
            for name in [path.relative_to(out).as_posix()]
            if not any(re.fullmatch(pattern, name) for pattern in self.differs)
        }


def _plain_run(name, data, root):
    """Drop the folder's own name, the time of day and the speed."""
    if name == "config.json":
        config = json.loads(data)
        config.pop("started")  # when it was begun
        config["dataset"].pop("path", None)  # where the trial lies
        return json.dumps(config).encode()
    if name == "metrics.jsonl":
        return re.sub(rb'"images_per_second": [^,]*', b"", data)  # wall-clock speed
    if name.endswith("last.pt"):
        return _values_of_state(data)
    if name.endswith("best.safetensors"):
        return _sorted_header(data)
    return data


def _values_of_state(data):
    """All values of a saved state: pickle writes equal ones in other ways after a resume."""
    import torch

    try:
        state = torch.load(io.BytesIO(data), weights_only=True)
    except Exception:  # damaged: then its bytes are other bytes
        return data

    def plain(value):
        if isinstance(value, dict):
            return [(key, plain(each)) for key, each in value.items()]
        if isinstance(value, list | tuple):
            return [plain(each) for each in value]
        if isinstance(value, torch.Tensor):
            return str(value.dtype), tuple(value.shape), value.numpy().tobytes()
        return value

    return repr(plain(state)).encode()


def _sorted_header(data):
    """A safetensors file with its header in order: the library writes metadata in any."""
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
    except ValueError:
        return data
    return json.dumps(header, sort_keys=True).encode() + data[8 + length :]


def _gen(kind, *more):
    return ("gen-scans", "--model", "in/tiny.onnx", "--count", "12", "--batch", "4", "--quiet",
            "--format", kind, *more, "--out", "out")  # fmt: skip


SHARDED = ("--shard-size", "10")
COMMANDS = [
    Command("prep-scans", ("prep-scans", "in", "out", "--size", "32", "--quiet"), "scans",
            "dataset.json", refuses=OTHER_SCANS),
    Command("prep-scans --split",
            ("prep-scans", "in", "out", "--size", "32", "--quiet", "--split", "0.6,0.2,0.2"),
            "scans", "split.json", refuses=OTHER_SCANS),
    Command("train-gan", ("train-gan", "in", "--out", "out", "--quiet", *TINY), "prepared",
            "report.png", heavy=True, plain=_plain_run,
            grows=r"last\.pt|best\.safetensors|metrics\.jsonl",
            differs={r"events\.out\.tfevents\..*": "TensorBoard's own log holds the time of day"}),
    Command("export-onnx", ("export-onnx", "in", "-o", "out/m.onnx"), "run", "m.onnx", heavy=True),
    Command("gen-scans png", _gen("png"), "model", "manifest.jsonl"),
    Command("gen-scans tar", _gen("tar", *SHARDED), "model", "manifest.jsonl"),
    Command("gen-scans npz", _gen("npz", *SHARDED), "model", "manifest.jsonl"),
    Command("scangan merge", ("scangan", "merge", "in/a", "in/b", "--out", "out", "--quiet"),
            "parts", "manifest.jsonl"),
]  # fmt: skip


def make_templates(folder, model, light, heavy):
    """Make the inputs, each once; `model` is a tiny model file. Without a `heavy` process, no run."""
    _make_scans(folder / "scans")
    (folder / "model").mkdir()
    shutil.copy(model, folder / "model/tiny.onnx")
    part = ("gen-scans", "--model", "model/tiny.onnx", "--count", "12", "--quiet", "--shard")
    work = [
        (light, (*part, "0/2", "--out", "parts/a")),
        (light, (*part, "1/2", "--out", "parts/b")),
        (light, ("prep-scans", "scans", "prepared", "--size", "16")),
    ]
    if heavy:
        work.append((heavy, ("train-gan", "prepared", "--out", "run", "--quiet", *TINY)))
    for zygote, argv in work:
        ended = zygote.run(folder, argv)
        assert ended.code == 0, ended.stderr


def _make_scans(folder):
    """Copy real scans of two classes, with a few of 16 bits, which need a window over all."""
    rng = np.random.default_rng(0)
    for name in CLASSES[:2]:
        (folder / name).mkdir(parents=True)
        for file in sorted((BRAIN / name).iterdir())[:12]:
            shutil.copy(file, folder / name)
        for number in range(2):
            ramp = np.add.outer(np.arange(40), np.arange(40)) * 300 + rng.integers(0, 999, (40, 40))
            cv2.imwrite(str(folder / name / f"z{number}.png"), ramp.astype(np.uint16))
