"""Builds the shim, and runs commands under it."""

import dataclasses
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
ALL = "ocerwsmudt"  # letters of shim.c: opens, reads, writes, syncs, moves, removals, folders, cuts
TOO_LONG = 300  # seconds: then it hangs


def why_not():
    """Say why there can be no shim here; None where there can."""
    if sys.platform != "linux":
        return "the shim needs Linux"
    if platform.libc_ver()[0] != "glibc":
        return "the shim needs glibc"
    if shutil.which("cc") is None:
        return "the shim needs a C compiler (cc)"
    return None


def build(folder):
    """Compile the shim into a folder."""
    shim = Path(folder) / "shim.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", shim, HERE / "shim.c", "-ldl"]
    subprocess.run(command, check=True)
    return shim


@dataclasses.dataclass(frozen=True)
class Arming:
    """What `faults_arm` of the shim takes: where, which calls, what, at which call, how much."""

    below: tuple[Path, ...]
    kind: str = "count"
    ops: str = ALL
    at: int = 0
    amount: int = 0
    spared: tuple[Path, ...] = ()

    def arguments(self, log):
        """Give them in the order of the C function."""
        below, spared = (":".join(map(str, folders)) for folders in (self.below, self.spared))
        return [below, spared, self.ops, self.kind, self.at, self.amount, str(log or "")]


@dataclasses.dataclass
class Ended:
    """How a command ended: exit code (negative: signal; None: it hung), and what it said."""

    code: int | None
    stdout: str
    stderr: str
    log: list[str]


class Started(NamedTuple):
    """A command that runs: its process, and where its words go."""

    process: int
    root: Path
    name: str


class Zygote:
    """A process that forks commands, started when the first is asked for.

    `modules` are imported before; a command that is to be started afresh has none. Without a `shim`
    there are no faults. `env` is the environment, by default that of the tests.
    """

    def __init__(self, shim=None, modules=(), env=None):
        self.shim, self.modules, self.process = shim, modules, None
        self.env = os.environ if env is None else env

    def _start(self):
        env = self.env | {
            "OMP_NUM_THREADS": "1",  # with more, torch sums in another order each time
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        if self.shim:
            env["LD_PRELOAD"] = str(self.shim)
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [env.get("PYTHONPATH"), str(HERE.parent)]))
        for name in ("TMPDIR", "TMP", "TEMP"):
            env.pop(name, None)
        self.process = subprocess.Popen(
            [sys.executable, HERE / "zygote.py", *self.modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
            cwd="/",
        )

    def _ask(self, request):
        if self.process is None:
            self._start()
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def start(self, root, argv, arming=None, name="command", cwd=None, env=None):
        """Start a command in `root`, or in `cwd`; give what `wait` takes.

        `argv` may also be ``["-c", code, ...]``, as for Python.
        """
        log = root / f"{name}.log"
        log.unlink(missing_ok=True)
        request = {
            "cwd": str(cwd or root),
            "argv": list(map(str, argv)),
            "env": env and dict(env),
            "arm": arming.arguments(log) if arming else [],
            "stdout": str(root / f"{name}.out"),
            "stderr": str(root / f"{name}.err"),
        }
        return Started(self._ask(request), root, name)

    def wait(self, started):
        """Wait for it."""
        process, root, name = started
        code = self._ask({"wait": process, "seconds": TOO_LONG})
        out, err, log = (root / f"{name}.{kind}" for kind in ("out", "err", "log"))
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return Ended(code, out.read_text(), err.read_text(), lines)

    def run(self, root, argv, arming=None, **about):
        """Run a command to its end."""
        return self.wait(self.start(root, argv, arming, **about))

    def close(self):
        """End it."""
        if self.process is None:
            return
        self.process.stdin.close()
        self.process.wait(timeout=120)  # a busy machine takes long to end what holds torch
        self.process.stdout.close()
