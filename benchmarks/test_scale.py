"""Writing to an object store beside a folder, and what listing a million names takes.

The store is moto's S3 server in a process of its own, on the same processors: it takes part of the
time that it is measured by.
"""

import socket
import subprocess
import sys
import time
import urllib.request
from urllib.error import URLError

import numpy as np
import pytest
from processes import ENV

from scangan.artifacts.request import Request, Span
from scangan.artifacts.scan_folder import Plan
from scangan.core import store
from scangan.core.address import to_address
from scangan.core.threads import usable_cpus
from scangan.runtime.writing import present_in

COUNT = 25_000  # of each of four classes
LISTED = 1_000_000
GEN_SCANS = [sys.executable, "-m", "scangan.cli", "generate", "--no-sheet", "--quiet"]


@pytest.fixture(scope="module")
def moto():
    """Start moto's server with a bucket; yield the environment that points to it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        for _ in range(200):
            try:
                asked = urllib.request.Request(f"{url}/bench", method="PUT")
                urllib.request.urlopen(asked).close()
                break
            except URLError:
                time.sleep(0.1)
        keys = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "x")
        yield ENV | keys | {"AWS_ENDPOINT_URL": url, "AWS_REGION": "us-east-1"}
        server.kill()


@pytest.mark.benchmark(timer=time.perf_counter)
@pytest.mark.parametrize("where", ["a folder", "a store"])
@pytest.mark.parametrize("kind", ["npz", "tar"])
def test_writing_to_a_store(benchmark, moto, memory, kind, where):
    benchmark.group = f"{4 * COUNT} scans as {kind}, int8, to a folder and to a store (asked: 1.3)"
    benchmark.name = where
    benchmark.extra_info |= {"images": 4 * COUNT, "wall": f"{usable_cpus()} threads"}
    rounds = iter(range(100))

    def write():
        name = f"{kind}-{next(rounds)}"
        out = memory / name if where == "a folder" else f"s3://bench/{name}"
        words = [*GEN_SCANS, "--count", str(COUNT), "--format", kind, "--out", str(out)]
        subprocess.run(words, check=True, env=moto | {"TMPDIR": str(memory)})

    benchmark.pedantic(write, rounds=3, warmup_rounds=1)


def test_listing_a_million_names(benchmark, monkeypatch):
    """What a resumed command does with the names in a store; the store itself is simulated."""
    request = Request(spans=(Span(0, 0, LISTED),), format="png")
    plan = Plan.of("0" * 64, ("a", "b"), request)
    entries = [store.Entry(f"a/{index:09d}.png", 3000, "tag") for index in range(LISTED)]
    monkeypatch.setattr(store, "below", lambda folder: iter(entries))
    benchmark.group = f"{LISTED:,} names of scans in a store, listed by a resumed command"
    benchmark.name = "which are there"
    benchmark.extra_info["asked"] = "at most 30 s"
    there = benchmark.pedantic(
        lambda: present_in(to_address("s3://bench/x"), plan, range(LISTED)),
        rounds=1,
        warmup_rounds=0,
    )
    assert there.all()


@pytest.fixture(scope="module")
def many_scans(tmp_path_factory):
    """100,000 scans of the bundled model, mixed, and their hashes."""
    from scangan.preprocessing.duplicates import perceptual_hash
    from scangan.runtime import ScanGenerator

    file = tmp_path_factory.mktemp("many") / "images.npy"
    images = np.lib.format.open_memmap(file, "w+", np.uint8, (4 * COUNT, 64, 64))
    order = np.random.default_rng(0).permutation(4 * COUNT).reshape(4, COUNT)
    with ScanGenerator() as generator:
        for number in range(4):
            images[order[number]] = generator.sample(COUNT, number)
    images.flush()
    return np.load(file, mmap_mode="r"), np.array([perceptual_hash(image) for image in images])


@pytest.mark.parametrize("count", [10_000, 30_000, 100_000])
def test_near_duplicates(benchmark, many_scans, count):
    """As scans of a GAN are more alike than real ones, many have to be compared."""
    from scangan.preprocessing.duplicates import near_duplicates

    images, hashes = many_scans
    benchmark.group = "near-duplicates among scans of a GAN, at 64 pixels"
    benchmark.name = f"{count:,} scans"
    benchmark.extra_info["asked"] = "at most 300 s, of 100,000"
    found = benchmark.pedantic(
        lambda: near_duplicates(images[:count], hashes[:count]), rounds=1, warmup_rounds=0
    )
    assert found.pairs
