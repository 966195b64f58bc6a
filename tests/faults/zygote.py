"""Runs commands in forks of one process that has imported what they need: torch takes seconds.

Loaded under the shim; reads one request a line, forks, and answers with the process's number or how
it ended. ``python zygote.py MODULE...`` imports those modules first.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

from exports import FOLDER, keep_exports
from faults import careless
from few_scores import score_few
from programs import main_of

LIGHT = ["scangan.runtime.output", "scangan.runtime.merge", "scangan.runtime.shards",
         "scangan.cli.front_door", "scangan.cli.generate", "scangan.cli.merge", "onnxruntime", "filelock",
         "scangan.preprocessing.pipeline", "scangan.preprocessing.summary_text", "scangan.cli.prepare",
         "scangan.preprocessing.reading.jpeg", "scangan.preprocessing.reading.png",
         "scangan.preprocessing.kernels.area", "scangan.preprocessing.kernels.histogram"]  # fmt: skip
HEAVY = ["scangan.training.train_gan", "scangan.cli.train", "scangan.training.per_class",
         "scangan.export.exporter", "scangan.cli.export",
         # What torch imports with the first optimizer, and with the first export
         "torch._dynamo", "torch.export", "onnxscript.rewriter", "onnx.reference",
         "networkx"]  # fmt: skip


def child(request):
    """Become the command; never returns."""
    os.chdir(request["cwd"])
    if request.get("env"):
        os.environ.clear()
        os.environ.update(request["env"])
    for number, name in ((0, os.devnull), (1, request["stdout"]), (2, request["stderr"])):
        file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(file, number)
        os.close(file)
    program, *arguments = request["argv"]
    sys.argv = [program, *arguments[program == "-c" :]]
    arm = [a.encode() if isinstance(a, str) else ctypes.c_long(a) for a in request["arm"]]
    if arm:
        ctypes.CDLL(None).faults_arm(*arm)
    if program == "-c":
        run_code(arguments[0])
    main = careless.main if program == "careless" else main_of(program)
    if program == "train-gan":
        score_few(whole="WHOLE_REPORTS" in os.environ)  # also where nothing was imported before
    if program == "export-onnx":
        import scangan.export.fidelity

        scangan.export.fidelity.COUNT = 96  # scans of an int8 file that are compared
    from scangan.cli.command import run_and_leave

    try:
        run_and_leave(main)
    except BaseException:  # with --debug; an interpreter that was forked can hang while it ends
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def run_code(code):
    """Run Python code as a program; never returns."""
    number = 1
    try:
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
        number = 0
    except SystemExit as end:
        number = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(number)


def wait(process, seconds):
    """How a process ended, as a shell says it but with the signal negative; None if it hung."""
    give_up = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > give_up:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return None
        time.sleep(0.005)


def ready_numba():
    """Call a kernel: with the first one of a process, numba imports and registers for a second."""
    import numpy as np

    from scangan.preprocessing.kernels.histogram import count_levels

    count_levels(np.zeros(8, np.uint8))


def main():
    """Answer until there are no more requests."""
    os.environ.pop("LD_PRELOAD", None)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in sys.argv[1:]:
        importlib.import_module(name)
    if FOLDER in os.environ and "scangan.export.exporter" in sys.modules:
        keep_exports()
    if "scangan.preprocessing.kernels.histogram" in sys.modules:
        ready_numba()
    gc.freeze()  # what was imported stays: no fork needs to look it over
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = wait(request["wait"], request["seconds"])
        else:
            answer = os.fork()
            if not answer:
                answers.close()
                child(request)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).parent))  # as it is for a user
    main()
