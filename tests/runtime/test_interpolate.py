"""Strips between two scans."""

import itertools

import cv2
import numpy as np
import pytest

from scangan.artifacts.latents import Draw
from scangan.runtime import GenerationError, ScanGenerator
from scangan.runtime.interpolate import read_ends, slerp, strip


def test_slerp_keeps_the_length_and_meets_the_ends():
    z = Draw(1).latents(0, range(2), 64)
    path = slerp(z[0], z[1], 9)
    assert path.shape == (9, 64) and path.dtype == np.float32
    assert np.allclose(path[[0, -1]], z, atol=1e-6)
    lengths = np.linalg.norm(path, axis=1)
    assert lengths.min() > 0.99 * min(lengths[0], lengths[-1])
    angles = [
        np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in itertools.pairwise(path)
    ]
    assert np.ptp(np.arccos(angles)) < 0.02  # even steps
    assert np.allclose(slerp(z[0], z[0], 3), z[0])


def test_the_ends_of_a_strip():
    assert read_ends("3:17", ("cat",)) == (3, 17)
    assert read_ends("cat:dog", ("cat", "dog")) == ("cat", "dog")
    assert read_ends("01:02", ("1", "2")) == (1, 2)
    for text, says in [("1:2", "could mean indexes or classes"), ("1", "give two"), ("a:b", "give two"),
                       ("1:dog", "give two"), ("", "give two")]:  # fmt: skip
        with pytest.raises(GenerationError, match=says):
            read_ends(text, ("1", "2"))


def test_a_strip_begins_and_ends_with_the_scans_themselves(tiny_acgan):
    generator = ScanGenerator(tiny_acgan)
    image = strip(generator, (4, 9), (1,), Draw(2), 5)
    for index, column in ((4, 0), (9, 4)):
        scan = generator.sample(1, 1, seed=2, start=index)[0].repeat(3, 0).repeat(3, 1)
        left = image.shape[1] - (5 - column) * 100
        assert np.array_equal(image[-100:-4, left : left + 96], scan)
    assert strip(generator, ("cat", "dog"), (None,), Draw(2), 5).shape[0] > image.shape[0]


def test_the_command_of_a_strip(command, tiny_acgan, tmp_path):
    done = command("strip", "0:3", "--model", tiny_acgan, cwd=tmp_path)
    assert done.stdout == "a strip of 8 synthetic scans: tiny-strip-0-3-seed0.png\n"
    assert cv2.imread(str(tmp_path / "tiny-strip-0-3-seed0.png")) is not None
    done = command("strip", "0:3", "--model", tiny_acgan, "--out", "x", cwd=tmp_path)
    assert done.returncode == 2 and "a name like x.png" in done.stderr
    before = (tmp_path / "tiny-strip-0-3-seed0.png").read_bytes()
    again = command("strip", "0:3", "--model", tiny_acgan, cwd=tmp_path)
    assert again.returncode == 2 and "exists; choose another --out" in again.stderr
    assert (tmp_path / "tiny-strip-0-3-seed0.png").read_bytes() == before
    other = command("strip", "cat:dog", "--model", tiny_acgan, cwd=tmp_path)
    assert other.returncode == 0 and (tmp_path / "tiny-strip-cat-dog-seed0.png").exists()
    for argv, name in [
        (["0:3", "--class", "dog"], "tiny-strip-0-3-dog-seed0.png"),
        (["0:3", "--class", "cat", "--steps", 4], "tiny-strip-0-3-cat-seed0-n4.png"),
        (
            ["cat:dog", "--start", 2, "--truncation", 0.7],
            "tiny-strip-cat-dog-seed0-from2-psi0.7.png",
        ),
    ]:
        done = command("strip", "--model", tiny_acgan, *argv, cwd=tmp_path)
        assert done.returncode == 0 and name in done.stdout, done.stderr
    for argv, says in [
        (["0:1", "--start", 5], "--start cannot be used with a strip between indexes"),
        (["cat:dog", "--class", 2], "--class cannot be used with a strip between classes"),
        (["cat:dog", "--paired"], "a strip between classes is always paired"),
    ]:
        done = command("strip", "--model", tiny_acgan, *argv, cwd=tmp_path)
        assert done.returncode == 2 and says in done.stderr and done.stderr.count("\n") == 1
