"""The whole of `prep-scans` beside the scripts that users write: time, CPU time and memory.

python benchmarks/whole_preparation.py SCANS WORK [--count 1000]

SCANS is a folder of real scans (searched for JPEGs); from them large radiographs are made in WORK:
random crops enlarged to about 1800 x 1300 with noise, saved as JPEG. Each way runs in a process of
its own, from files to one array of 256 x 256 (64 x 64 for the small scans), three times in turn.
The table goes to benchmarks/results/prep-scans.md.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np

PILLOW = """
import sys
from pathlib import Path
import numpy as np
from PIL import Image
from skimage import exposure, transform
files = sorted(Path(sys.argv[1]).rglob("*.jp*g"))
size = int(sys.argv[2])
images = []
for file in files:
    image = np.asarray(Image.open(file).convert("L"))
    image = exposure.equalize_hist(image)
    image = transform.resize(image, (size, size), anti_aliasing=True)
    images.append((image * 255).astype(np.uint8))
np.save(sys.argv[3], np.array(images))
"""

OPENCV = """
import sys
from pathlib import Path
import cv2
import numpy as np
cv2.setNumThreads(1)
files = sorted(Path(sys.argv[1]).rglob("*.jp*g"))
size = int(sys.argv[2])
images = []
for file in files:
    image = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
    image = cv2.equalizeHist(image)
    images.append(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA))
np.save(sys.argv[3], np.array(images))
"""


def make(scans, folder, count, change):
    """Write `count` different JPEGs in two classes, each made of a real scan by `change`."""
    rng = np.random.default_rng(0)
    files = sorted(p for p in scans.rglob("*") if p.suffix in (".jpg", ".jpeg"))
    for index in range(count):
        path = folder / f"class{index % 2}" / f"{index:05d}.jpg"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        scan = cv2.imread(str(files[index % len(files)]), cv2.IMREAD_GRAYSCALE)
        changed = change(scan, rng)
        noisy = np.clip(changed + rng.normal(0, 3, changed.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(path), noisy, [cv2.IMWRITE_JPEG_QUALITY, 92])


def radiograph(scan, rng):
    """Enlarge a random crop to about 1800 x 1300."""
    rows, columns = (np.array(scan.shape) * rng.uniform(0.8, 1, 2)).astype(int)
    top, left = rng.integers(scan.shape[0] - rows + 1), rng.integers(scan.shape[1] - columns + 1)
    size = (int(rng.integers(1700, 1900)), int(rng.integers(1230, 1370)))
    crop = scan[top : top + rows, left : left + columns]
    return cv2.resize(crop, size, interpolation=cv2.INTER_CUBIC)


def small(scan, rng):
    """Shrink to 64 x 64."""
    return cv2.resize(scan, (64, 64), interpolation=cv2.INTER_AREA)


def run(command, out):
    """Run a command; its wall time, CPU time (s) and peak memory (MiB)."""
    shutil.rmtree(out, ignore_errors=True)
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status:
        raise SystemExit(f"failed: {' '.join(map(str, command))}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def compare(title, scans, size, work, times):
    """Run all ways in turn; rows of a Markdown table."""
    out, array = work / "out", work / "out.npy"
    prep = [sys.executable, "-m", "scangan.cli", "prepare", scans, out, "--size", str(size)]
    prep += ["--equalize", "global", "--fit", "stretch", "--quiet"]
    ways = {
        "prep-scans --workers 2": [*prep, "--workers", "2"],
        "prep-scans --workers 1": [*prep, "--workers", "1"],
        "script with OpenCV": [sys.executable, "-c", OPENCV, scans, str(size), array],
        "script with Pillow and scikit-image": [sys.executable, "-c", PILLOW, scans, str(size), array],
    }  # fmt: skip
    taken = {name: [] for name in ways}
    for _ in range(times):
        for name, command in ways.items():
            taken[name].append(run(list(map(str, command)), out))
    median = {
        name: [statistics.median(f) for f in zip(*rows, strict=True)]
        for name, rows in taken.items()
    }
    ours = median["prep-scans --workers 2"]
    lines = [f"## {title}", "", "| | wall s | CPU s | peak MiB | wall, to ours | CPU, to ours |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, (wall, cpu, peak) in median.items():
        ratios = f"{wall / ours[0]:.2f} | {cpu / ours[1]:.2f}"
        lines.append(f"| {name} | {wall:.2f} | {cpu:.2f} | {peak:.0f} | {ratios} |")
    return [*lines, ""]


def memory(scans, work, few, many):
    """Peak memory of few and of many files, equal pictures in files of different bytes."""
    lines = ["## Memory", "", "| files | peak MiB |", "| ---: | ---: |"]
    files = sorted(scans.rglob("*.jpg"))
    for count in (few, many):
        folder = work / f"many{count}" / "class"
        shutil.rmtree(folder.parent, ignore_errors=True)
        folder.mkdir(parents=True)
        for index in range(count):
            # Different bytes, or all would be copies: a comment marker behind the first.
            data = files[index % len(files)].read_bytes()
            tag = b"\xff\xfe" + (2 + 8).to_bytes(2, "big") + index.to_bytes(8, "big")
            (folder / f"{index:06d}.jpg").write_bytes(data[:2] + tag + data[2:])
        command = [
            sys.executable,
            "-m",
            "scangan.cli",
            "prepare",
            folder.parent,
            work / "out",
            "--quiet",
        ]
        _, _, peak = run(list(map(str, command)), work / "out")
        lines.append(f"| {count} | {peak:.0f} |")
    return [*lines, ""]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scans", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--small", type=int, default=4000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--many", type=int, default=20_000)
    given = parser.parse_args()
    many, tiny = given.work / "large", given.work / "small"
    make(given.scans, many, given.count, radiograph)
    make(given.scans, tiny, given.small, small)
    lines = [
        "# prep-scans, the whole command",
        "",
        f"Made by `python benchmarks/whole_preparation.py SCANS WORK --count {given.count} "
        f"--small {given.small} --times {given.times} --many {given.many}`: medians of "
        f"{given.times} runs in turn ({5 * given.times} of the small scans), processes from start "
        f"to end, on a shared machine of {os.cpu_count()} cores. Trust ratios, not absolute figures.",
        "",
    ]
    title = f"{given.count} JPEG radiographs of about 1800x1300, equalised, to 256"
    lines += compare(title, many, 256, given.work, given.times)
    lines += compare(
        f"{given.small} JPEGs of 64x64, equalised, to 64", tiny, 64, given.work, 5 * given.times
    )
    lines += memory(tiny, given.work, 1000, given.many)
    target = Path(__file__).parent / "results" / "prep-scans.md"
    target.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
