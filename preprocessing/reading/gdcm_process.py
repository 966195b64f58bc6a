"""Decode frames with gdcm in a separate process.

One wrong byte in a frame can make gdcm kill the whole process (3.2.6: an uncaught C++ exception or a
segmentation fault, with each of its codecs). It also holds the GIL, and its codecs print to standard
error. So it runs in child processes, one per waiting thread. They end with their parent, however that
ends.
"""

import atexit
import importlib.util
import json
import os
import subprocess
import sys
import threading
from typing import Any, BinaryIO, cast

from pydicom import uid
from pydicom.pixels.decoders import gdcm
from pydicom.pixels.decoders.base import DecodeRunner

from scangan.core.errors import MachineFault

# Time limit for a frame. JPEG 2000, the slowest, decodes about 30 million values per second, but a
# damaged frame may declare any size. A busy machine takes 10 s to start the process.
LONGEST_S = 60
LEAST_VALUES_A_SECOND = 2_000_000
MOST_MEMORY = 4 << 30  # bytes a child may allocate, as a damaged frame can declare any size
CHANGED = ("bits_allocated", "planar_configuration", "photometric_interpretation")


class DecodingFailed(Exception):
    """gdcm returned no pixels, its process ended, or it took too long."""


def is_installed() -> bool:
    """Whether gdcm is installed; does not load it."""
    return importlib.util.find_spec("gdcm") is not None


def decode(source: bytes, runner: DecodeRunner) -> bytes:
    """Decode one frame; safe to call from several threads.

    Parameters
    ----------
    source : bytes
        The compressed frame: JPEG, JPEG-LS or JPEG 2000.
    runner : pydicom.pixels.decoders.base.DecodeRunner
        Describes the frame; its options are updated by the decoding.

    Returns
    -------
    bytes
        The pixels, with colours interleaved.

    Raises
    ------
    DecodingFailed
        Decoding failed, whatever the bytes.
    MachineFault, MemoryError
        This machine cannot start a process, or has no memory for the answer.
    """
    # The system may have killed a process, short of memory. A damaged frame kills the next one, too.
    for last in (False, True):
        try:
            changes, frame = _ask(source, runner)
            break
        except _Gone as gone:
            if last or gone.too_slow:
                raise DecodingFailed from gone
    if not frame:
        raise DecodingFailed
    runner.set_options(**changes)
    return frame


class _Gone(Exception):
    """The process ended, or was ended because it was too slow."""

    def __init__(self, too_slow: bool) -> None:
        self.too_slow = too_slow


def _ask(source: bytes, runner: DecodeRunner) -> tuple[dict[str, Any], bytes]:
    """Let a process decode a frame."""
    try:
        child = _idle.pop()
    except IndexError:
        try:
            child = _start()
        except OSError as error:
            raise MachineFault(*error.args) from error
    too_slow = threading.Event()

    def stop() -> None:
        too_slow.set()
        child.kill()

    values_in_all = runner.rows * runner.columns * runner.samples_per_pixel
    clock = threading.Timer(LONGEST_S + values_in_all / LEAST_VALUES_A_SECOND, stop)
    clock.start()
    try:
        values = {k: v for k, v in runner.options.items() if isinstance(v, int | str)}
        _send(cast("BinaryIO", child.stdin), values, source)
        answer = _receive(cast("BinaryIO", child.stdout))
    except (OSError, EOFError, ValueError) as error:
        _end(child)
        raise _Gone(too_slow.is_set()) from error
    except BaseException:
        _end(child)
        raise
    finally:
        clock.cancel()
    _idle.append(child)
    return answer


_idle: list["subprocess.Popen[bytes]"] = []


def _start() -> "subprocess.Popen[bytes]":
    # -P: otherwise, gdcm would import a folder `dl` in the current directory.
    return subprocess.Popen(
        [sys.executable, "-P", "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _end(child: "subprocess.Popen[bytes]") -> None:
    child.kill()
    child.communicate()


@atexit.register
def _end_all() -> None:
    while _idle:
        _end(_idle.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # the pipes belong to the parent


def _send(stream: BinaryIO, values: dict[str, Any], body: bytes) -> None:
    stream.write(json.dumps([values, len(body)]).encode() + b"\n" + body)
    stream.flush()


def _receive(stream: BinaryIO) -> tuple[dict[str, Any], bytes]:
    line = stream.readline()
    if not line:
        raise EOFError
    values, length = json.loads(line)
    body = stream.read(length)
    if len(body) < length:
        raise EOFError
    return values, body


def serve() -> None:
    """Run the child process: decode frames from standard input until it closes."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of the codecs must not mix with the answers
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        try:
            options, source = _receive(sys.stdin.buffer)
        except EOFError:
            return
        runner = DecodeRunner(uid.UID(options["transfer_syntax_uid"]))
        runner.set_options(**options)
        if runner.transfer_syntax == uid.JPEGExtended12Bit:
            # pydicom's plugin refuses 12 bits with this syntax, but gdcm goes by the frame itself.
            runner.set_option("transfer_syntax_uid", uid.JPEGLossless)
        try:
            frame = gdcm._decode_frame(source, runner)
        except Exception:  # an answer without pixels reports the failure
            frame = b""
        _send(answers, {name: runner.get_option(name) for name in CHANGED}, frame)


if __name__ == "__main__":
    serve()
