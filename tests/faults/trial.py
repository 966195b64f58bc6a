"""One trial: a command under a fault, then again without; and what is wrong with what came of it."""

import dataclasses
import json
import random
import re
import shutil
import sys
import time
from pathlib import Path

from faults.kinds import JUMPS, PAUSE, choose
from faults.shim import Arming, Zygote
from faults.zygote import HEAVY, LIGHT

# What a command is made of, which may itself lie in /tmp.
PROGRAM = tuple(map(Path, (sys.prefix, sys.base_prefix))) + Path(__file__).parents[1:3]

# What a command may say when another one writes the same output.
BUSY = "is being written by"


@dataclasses.dataclass
class Verdict:
    """What came of a trial: nothing, work lost (`refused`, truly), or what is wrong."""

    command: str
    kind: str
    point: int
    wrong: list[str] = dataclasses.field(default_factory=list)
    refused: str = ""
    other_came_first: bool = False  # of two at once: then this one may be refused

    def __str__(self):
        return f"{self.command} | {self.kind} | call {self.point}: {'; '.join(self.wrong)}"


class Bench:
    """Where trials are made: templates of inputs, outputs that are right, and processes to fork from."""

    def __init__(self, folder, shim, templates):
        self.folder, self.shim, self.templates = folder, shim, templates
        light = [*LIGHT, "faults.kernels"]  # most runs prepare scans of 16 bits
        self.zygotes = Zygote(shim, light), Zygote(shim, LIGHT + HEAVY)
        self._right = {}
        self._number = 0

    def fresh(self, command):
        """Make a folder for a trial, with its inputs."""
        self._number += 1
        root = self.folder / f"trial{self._number}"
        shutil.copytree(self.templates / command.inputs, root / "in")
        if command.title == "export-onnx":
            (root / "out").mkdir()  # it makes a file, and no folder
        return root

    def zygote(self, command):
        """The process that forks this command."""
        return self.zygotes[command.heavy]

    def close(self):
        """End them."""
        for zygote in self.zygotes:
            zygote.close()

    def right(self, command):
        """Run it undisturbed, once: its output, and the calls it made."""
        if command.title not in self._right:
            root = self.fresh(command)
            arming = Arming((root / "in", root / "out"))
            ended = self.zygote(command).run(root, command.argv, arming)
            assert ended.code == 0, ended.stderr
            tree = command.tree(root)
            written = sum(int(line.split()[1]) for line in ended.log if line.startswith("w "))
            if command.title != "scangan merge":  # which links
                sizes = sum(p.stat().st_size for p in (root / "out").rglob("*") if p.is_file())
                assert written >= sizes, "the shim does not see all that is written"
            calls = [(line[0], line.split(" ", 2)[2]) for line in ended.log]
            calls = [(op, path.removeprefix(f"{root}/")) for op, path in calls]
            self._right[command.title] = tree, calls
            shutil.rmtree(root)
        return self._right[command.title]

    def points(self, command, kind, number, seed):
        """Choose the calls that `kind` strikes in a command."""
        if kind.shim in ("readonly", "absent"):
            return list(range(1, number + 1))
        calls = self.right(command)[1]
        count = sum(op in kind.ops and path.startswith(kind.where) for op, path in calls)
        rng = random.Random(f"{seed} {command.title} {kind.title}") if kind.drawn else None
        return choose(count, number, rng) if count else []

    def try_out(self, command, kind, point, turn):
        """Make one trial; `turn` is its number among those of the same command and kind."""
        verdict = Verdict(command.title, kind.title, point)
        root = self.fresh(command)
        if kind.shim == "readonly" and turn:
            self._before_it_is_read_only(command, root, turn)
        arming = Arming(
            tuple(root / name for name in kind.where),  # an absolute one stays
            # Every other bad sector is read at the second try.
            "eio" if kind.shim == "sector" and turn % 2 else kind.shim,
            kind.ops,
            point,
            JUMPS[turn % len(JUMPS)] if kind.shim == "clock" else PAUSE,
            spared=(root, *PROGRAM) if kind.shim == "absent" else (),
        )
        first = self._under_fault(command, root, arming, verdict)
        self._judge_ending(command, kind, first, verdict)
        self._judge_output(command, kind, root, first, verdict)
        self._again(command, kind, root, verdict)
        if not verdict.wrong:
            shutil.rmtree(root)
        return verdict

    def _before_it_is_read_only(self, command, root, turn):
        """An output that is there: whole, or half of it."""
        half = len(self.right(command)[1]) // 2
        arming = Arming((root / "in", root / "out"), "kill", at=half if turn == 2 else 0)
        self.zygote(command).run(root, command.argv, arming)

    def _under_fault(self, command, root, arming, verdict):
        if arming.kind == "absent":
            zygote = Zygote(self.shim)
            ended = zygote.run(root, command.argv, arming)
            zygote.close()
            return ended
        zygote = self.zygote(command)
        if arming.kind != "pause":
            return zygote.run(root, command.argv, arming)
        started = zygote.start(root, command.argv, arming)
        log, give_up = root / "command.log", time.monotonic() + 60
        while not (log.exists() and b"paused\n" in log.read_bytes()):
            if time.monotonic() > give_up:
                break
            time.sleep(0.01)
        second = zygote.run(root, command.argv, name="second")
        verdict.other_came_first = second.code == 0
        if second.code != 0:
            _judge_refusal(command, second, BUSY, "the second", verdict)
        return zygote.wait(started)

    def _judge_ending(self, command, kind, ended, verdict):
        """One line, no traceback, no hang, a sensible exit code."""
        wrong = verdict.wrong
        if ended.code is None:
            wrong.append("hangs")
        elif ended.code < 0 and kind.shim != "kill":
            wrong.append(f"died of signal {-ended.code}")
        elif ended.code not in (0, 1, 2, 130) and ended.code >= 0:
            wrong.append(f"exit code {ended.code}")
        if "Traceback" in ended.stderr:
            wrong.append("a traceback: " + ended.stderr.strip().splitlines()[-1])
        elif ended.code is not None and ended.code > 0:
            program = command.called
            lines = ended.stderr.splitlines()
            said = [line for line in lines if line.startswith(f"{program}: ")]
            if len(said) != 1 or "unexpected" in ended.stderr or len(lines) != 1:
                wrong.append(f"not one line: {ended.stderr!r}")
            if kind.shim == "sector" and re.search(r"the output|Errno", ended.stderr):
                wrong.append(f"does not say what cannot be read: {ended.stderr.strip()}")
        came_second = verdict.other_came_first and BUSY in ended.stderr
        needless = kind.shim in ("clock", "pause", "absent") and not came_second
        if ended.code and ended.code > 0 and needless:
            wrong.append(f"fails without need: {ended.stderr.strip()}")
        if ended.code and ended.code > 0 and (ended.code == 130) != (kind.shim == "term"):
            wrong.append(f"exit code {ended.code}: {ended.stderr.strip()}")

    def _judge_output(self, command, kind, root, ended, verdict):
        """What is there under its own name is whole, and all of it if it says so."""
        right, tree = self.right(command)[0], command.tree(root)
        seen = {name: data for name, data in tree.items() if not _hidden(name)}
        whole = command.last in seen
        differing = sorted(
            name
            for name, data in seen.items()
            if right.get(name) != data and (whole or not re.fullmatch(command.grows, name))
        )
        missing = sorted(right.keys() - seen.keys())
        if ended.code == 0:
            if (missing or differing) and not self._honest(command, kind, root, tree):
                verdict.wrong.append(f"ends with 0 and differs: {(missing + differing)[:4]}")
        elif whole and (missing or differing):
            verdict.wrong.append(f"looks whole and is not: {(missing + differing)[:4]}")
        elif differing:
            verdict.wrong.append(f"half-written: {differing[:4]}")
        template = self.templates / command.inputs
        names = [p.relative_to(template) for p in sorted(template.rglob("*")) if p.is_file()]
        changed = [str(name) for name in names if not _same(template / name, root / "in" / name)]
        if len(changed) > kind.spoils:
            verdict.wrong.append(f"changed its input: {changed[:4]}")
        others = sorted(p.name for p in root.iterdir() if p.suffix not in (".out", ".err", ".log"))
        if others not in (["in", "out"], ["in"]):
            verdict.wrong.append(f"left something elsewhere: {others}")

    def _honest(self, command, kind, root, tree):
        """Whether an output is that of the input as it came to be, or says what it lacks."""
        if command.inputs == "scans":  # what could not be read is named, and all else as without it
            rejects = tree.get("rejects.jsonl", b"")
            if b"cannot be read" in rejects or (kind.spoils and rejects):
                named = [json.loads(line)["file"] for line in rejects.splitlines()]
                made = self._twin(command, self.templates / command.inputs, root, named)
                return bool(made) and all(
                    tree.get(name) == data
                    for name, data in made.items()
                    if name.endswith(("items.jsonl", "images.npy"))
                )
        return bool(kind.spoils) and self._twin(command, root / "in", root) == tree

    def _twin(self, command, inputs, root, without=()):
        """What the command makes of inputs in peace."""
        twin = self.folder / f"{root.name}-twin"
        shutil.copytree(inputs, twin / "in")
        for name in without:
            (twin / "in" / name).unlink(missing_ok=True)  # two frames of a file are two rejects
        (twin / "out").mkdir()
        self.zygote(command).run(twin, command.argv)
        made = command.tree(twin)
        shutil.rmtree(twin)
        return made

    def _again(self, command, kind, root, verdict):
        """Type the same command again, without the fault and with the inputs as they were."""
        shutil.rmtree(root / "in")
        shutil.copytree(self.templates / command.inputs, root / "in")
        again = self.zygote(command).run(root, command.argv, name="again")
        right, tree = self.right(command)[0], command.tree(root)
        if again.code == 0 and tree != right:
            names = {*right, *tree}
            differing = sorted(name for name in names if right.get(name) != tree.get(name))
            verdict.wrong.append(f"again: other bytes: {differing[:4]}")
        elif again.code != 0:
            allowed = command.refuses if kind.spoils or kind.shim == "sector" else "(?!)"
            if _judge_refusal(command, again, allowed, "again", verdict):
                verdict.refused = again.stderr.strip()


def _judge_refusal(command, ended, allowed, who, verdict):
    program = command.called
    line = ended.stderr
    fine = line.count("\n") == 1 and line.startswith(f"{program}: ") and re.search(allowed, line)
    if not fine:
        verdict.wrong.append(f"{who}: exit code {ended.code}: {line.strip()[-300:]!r}")
    return fine


def _hidden(name):
    return any(part.startswith(".") for part in name.split("/"))


def _same(one, two):
    return two.is_file() and one.read_bytes() == two.read_bytes()
