"""Fuzz the readers, one after the other: ``make fuzz SECONDS=60 READER=all``.

A file that breaks a promise (`promises.py`), crashes, hangs or takes too much memory is kept in
``.fuzz/findings`` beside a line that says how to repeat it. The corpus in ``.fuzz/corpus`` grows from run
to run.
"""

import argparse
import hashlib
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

from .findings import keep

KINDS = ("jpeg", "png", "tiff", "bmp", "dicom", "nifti", "model", "labels", "suspects")
LEAST = 5  # seconds of a clock that the fuzzer is run for
SLOWEST, MEMORY, LONGEST = 10, 2048, 65_536  # seconds, MB and bytes a file
DIED = {"crash": "crashes", "timeout": f"takes over {SLOWEST} s", "oom": f"takes over {MEMORY} MB"}
FOUND = 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("--reader", choices=("all", *KINDS), default="all", help="what to fuzz")
    parser.add_argument("--seconds", type=int, default=60, help="of a processor, each reader")
    parser.add_argument("--folder", type=Path, default=Path(".fuzz"), help="corpus and findings")
    parser.add_argument("--repeat", type=Path, help="read one file again, and fuzz nothing")
    options = parser.parse_args()
    if options.repeat:
        return again(options.reader, options.repeat)
    print("reader  CPU s  executions  per s  coverage  found now  found in all")
    for kind in KINDS if options.reader == "all" else [options.reader]:
        fuzz(kind, options.seconds, options.folder)
    left = sorted((options.folder / "findings").glob("*.txt"))
    for path in left:
        print("", path.read_text().strip(), sep="\n")
    return FOUND if left else 0


def again(kind: str, path: Path) -> int:
    """Read one file, with the traceback or a line of what it breaks."""
    from .promises import check

    if kind == "all":
        sys.exit("--repeat needs the reader, too: READER=png")
    before = time.process_time()
    check(kind, path.read_bytes())
    seconds = time.process_time() - before
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    if seconds > SLOWEST or memory > MEMORY:
        print(f"{path} takes {seconds:.0f} s and {memory} MB")
        return FOUND
    print(f"{path} breaks nothing")
    return 0


def breaks_alone(kind: str, path: Path) -> bool:
    """Whether a file breaks something in a process of its own."""
    command = [sys.executable, "-m", "fuzz", "--reader", kind, "--repeat", path]
    try:
        ran = subprocess.run(command, capture_output=True, timeout=3 * SLOWEST, check=False)
    except subprocess.TimeoutExpired:
        return True
    return ran.returncode != 0 or bool(ran.stderr) or b"\n" in ran.stdout[:-1]


def fuzz(kind: str, seconds: int, folder: Path) -> None:
    """Fuzz one reader and print a line on it."""
    findings, corpus = folder / "findings", folder / "corpus" / kind
    findings.mkdir(parents=True, exist_ok=True)
    forget_what_is_mended(kind, findings)
    sow(kind, corpus)
    before = set(findings.glob(f"{kind}-*.txt"))
    cpu = cpu_seconds()
    executions = coverage = 0
    while (left := round(seconds - (cpu_seconds() - cpu))) > 0:
        log = run(kind, max(left, LEAST), findings, corpus)
        counts = [int(n) for n in re.findall(r"^#(\d+)\s", log, re.MULTILINE)]
        executions += max(counts, default=0)
        coverage = max([coverage, *(int(n) for n in re.findall(r" cov: (\d+)", log))])
        if not counts:
            sys.exit(f"the fuzzer of {kind} does not start:\n{log[-2000:]}")
    cpu = cpu_seconds() - cpu
    found = set(findings.glob(f"{kind}-*.txt"))
    print(
        f"{kind:<6}  {cpu:>5.0f}  {executions:>10}  {executions / cpu:>5.0f}  {coverage:>8}  "
        f"{len(found - before):>9}  {len(found):>12}",
        flush=True,
    )


def run(kind: str, seconds: int, findings: Path, corpus: Path) -> str:
    """Let libFuzzer run until its time is up or a file ends it; what it printed."""
    dead = findings.parent / "dead" / kind
    dead.mkdir(parents=True, exist_ok=True)
    limits = (f"-timeout={SLOWEST}", f"-rss_limit_mb={MEMORY}", f"-max_len={LONGEST}")
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "fuzz.target", kind, findings),
            *(*limits, f"-max_total_time={seconds}", f"-artifact_prefix={dead}/", corpus),
        ],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        check=False,
    )
    log = ran.stderr.decode(errors="replace")
    (dead.parent / f"{kind}.log").write_text(log)
    for path in dead.iterdir():
        died = path.name.partition("-")[0]
        how = DIED.get(died)
        # atheris never frees the result of a comparison, so that the process itself grows: a mask of
        # 8 MB for each large scan of one value. The file that was being read then is innocent.
        if how and (died != "oom" or breaks_alone(kind, path)):
            # One of each kind is kept: nobody knows where it was.
            keep(findings, kind, path.read_bytes(), how, how)
        path.unlink()
    return log


def sow(kind: str, corpus: Path) -> None:
    """Put the files to start from into the corpus."""
    from .seeds import files

    corpus.mkdir(parents=True, exist_ok=True)
    for data in files(kind):
        if len(data) <= LONGEST:
            (corpus / hashlib.sha1(data).hexdigest()).write_bytes(data)


def forget_what_is_mended(kind: str, findings: Path) -> None:
    """Drop the files that an earlier run kept and that now break nothing."""
    for note in sorted(findings.glob(f"{kind}-*.txt")):
        path = note.with_suffix("")
        if not breaks_alone(kind, path):
            path.unlink()
            note.unlink()


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
