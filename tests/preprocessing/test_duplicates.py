"""Near-duplicates among real scans, and among them and what was made of them."""

import mmap

import cv2
import numpy as np
import pytest
from conftest import BRAIN

from scangan.preprocessing import duplicates
from scangan.preprocessing.duplicates import (
    Leak,
    Pair,
    leaks,
    near_duplicates,
    perceptual_hash,
)
from scangan.preprocessing.kernels.likeness import likenesses

# The sample scans hold two pairs that show the same; found by eye, too.
KNOWN = {("image_136.jpg", "image_204.jpg"), ("image_214.jpg", "image_9.jpg")}


KNOWN_HASH = ["3a655a95a61dabba", "aaa6d24955a51ae5", "436aa6348f79c738"]
LOW, NEXT = range(1, 9), range(9, 17)
BLOCKS = (LOW, LOW), (LOW, NEXT), (NEXT, LOW)


@pytest.fixture(scope="module")
def files():
    return sorted(BRAIN.rglob("*.jpg"))


@pytest.fixture(scope="module")
def scans(files):
    """All sample scans at their own size."""
    return [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in files]


@pytest.fixture(scope="module")
def images(scans):
    """All sample scans at 64 pixels."""
    return squares(scans)


def squares(scans, size=64):
    return np.stack([cv2.resize(s, (size, size), interpolation=cv2.INTER_AREA) for s in scans])


def hashes_of(images):
    return np.array([perceptual_hash(image) for image in images], np.uint64).reshape(-1, 3)


def search(images, *args, **options):
    return near_duplicates(images, hashes_of(images), *args, **options)


def ends(found):
    return [(pair.first, pair.second) for pair in found.pairs]


@pytest.mark.parametrize("size", [64, 100, 256])
def test_of_28680_pairs_of_real_scans_just_those_that_show_the_same_are_found(scans, files, size):
    found = search(squares(scans, size))
    assert {(files[i].name, files[j].name) for i, j in ends(found)} == KNOWN
    assert all(pair.correlation > 0.98 and pair.distance <= 7 for pair in found.pairs)
    assert found.left_off == 0


def _turned(scan, degrees):
    turn = cv2.getRotationMatrix2D((scan.shape[1] / 2, scan.shape[0] / 2), degrees, 1)
    return cv2.warpAffine(scan, turn, scan.shape[::-1])


def _shifted(scan, share):
    move = np.float32([[1, 0, share * scan.shape[1]], [0, 1, 0]])
    return cv2.warpAffine(scan, move, scan.shape[::-1])


COPIES = {
    "JPEG of quality 60": (
        lambda s: cv2.imdecode(cv2.imencode(".jpg", s, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], 0),
        1.0,
    ),
    "half the size": (lambda s: cv2.resize(s, None, fx=0.5, fy=0.5, interpolation=3), 1.0),
    "1.7 times the size": (lambda s: cv2.resize(s, None, fx=1.7, fy=1.7), 1.0),
    "gamma": (lambda s: (255 * (s / 255) ** 0.7).astype(np.uint8), 1.0),
    "narrower window": (lambda s: cv2.convertScaleAbs(s, alpha=1.3), 0.95),
    "CLAHE": (lambda s: cv2.createCLAHE(2, (8, 8)).apply(s), 0.85),
    "turned by a degree": (lambda s: _turned(s, 1), 0.97),
    "shifted by 1/64": (lambda s: _shifted(s, 1 / 64), 0.8),
}


@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_found_and_nothing_else(scans, images, kind):
    copy, share = COPIES[kind]
    chosen = range(0, 240, 3)
    both = np.concatenate([images, squares([copy(scans[i]) for i in chosen])])
    found = set(ends(search(both)))
    wanted = {(i, 240 + k) for k, i in enumerate(chosen)}
    assert len(found & wanted) >= share * len(wanted)
    # What else is found shows the same as one of the known pairs.
    real = lambda i: i if i < 240 else chosen[i - 240]  # noqa: E731
    known = set(ends(search(images)))
    assert all(tuple(sorted((real(i), real(j)))) in known for i, j in found - wanted)


def test_a_plain_correlation_would_call_other_heads_copies(images):
    flat = images.reshape(len(images), -1).astype(float)
    alike = np.triu(np.corrcoef(flat), 1) > 0.9
    assert alike.sum() > 10  # of which two are copies


def test_a_mirrored_or_inverted_scan_is_another(images):
    both = np.concatenate([images[::4], images[::4, :, ::-1], 255 - images[::4]])
    assert all(j < 60 for _, j in ends(search(both)))


def test_the_hash_is_the_sign_of_the_lowest_frequencies(images):
    n = np.arange(32)
    for image in images[::24]:
        small = cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA).astype(float)
        bits = [
            (
                small
                * np.outer(np.cos(np.pi * u * (n + 0.5) / 32), np.cos(np.pi * v * (n + 0.5) / 32))
            ).sum()
            > 0
            for rows, columns in BLOCKS
            for u in rows
            for v in columns
        ]
        words = [int("".join(str(int(b)) for b in bits[i : i + 64]), 2) for i in (0, 64, 128)]
        differing = np.bitwise_count(np.array(words, np.uint64) ^ perceptual_hash(image))
        assert differing.sum() <= 1  # cosines there are rounded


def test_the_hash_of_a_scan_is_the_same_on_every_machine():
    rows, columns = np.mgrid[:64, :64]
    image = (rows * 3 + columns * columns // 20 + (rows // 9) * (columns // 7) * 5).astype(np.uint8)
    assert [f"{word:016x}" for word in perceptual_hash(image)] == KNOWN_HASH


def test_blank_scans_are_no_copies_of_one_another():
    blank = np.repeat(np.array([0, 7, 255], np.uint8), 10)[:, None, None] + np.zeros((64, 64), "u1")
    faint = np.full((10, 64, 64), 7, np.uint8)
    faint[:, :2, :40] = 8  # the hash sees it, the eye does not
    assert not perceptual_hash(blank[0]).any() and perceptual_hash(faint[0]).any()
    assert ends(search(np.concatenate([blank, faint]))) == []


def test_scans_alike_by_nature_are_not_compared(images):
    both = np.concatenate([images[:10]] * 3)
    natural = np.array([0] * 10 + [0] * 10 + [-1] * 10)
    found = set(ends(search(both, natural)))
    assert found == {(i, 20 + i) for i in range(10)} | {(10 + i, 20 + i) for i in range(10)}
    assert len(search(both, np.full(30, -1)).pairs) == 30


def test_of_many_equal_scans_a_bounded_number_of_pairs_holds_all_together(images):
    many = np.repeat(images[:2], 200, axis=0)
    found = search(many, partners=5)
    assert len(found.pairs) + found.left_off == 2 * 200 * 199 // 2
    assert len(found.pairs) <= 5 * len(many)
    group = list(range(400))
    for one, two in ends(found):
        group[two] = min(group[one], group[two])
    assert set(group) == {0, 200}


def test_of_many_candidates_that_show_something_else_the_nearest_are_compared(scans):
    small = squares(scans, 32)  # there are 28,000 pairs
    one, two = small[[130]], small[[143]]  # which show the same
    both = np.concatenate([one, np.delete(small, [130, 143], axis=0), two])
    hashes = np.full((240, 3), 0b1111, np.uint64)  # of layouts that are all alike
    hashes[[0, 239]] = 0b1110
    found = near_duplicates(both, hashes)
    assert (0, 239) in ends(found)
    assert found.left_off == sum(max(0, 239 - i - 200) for i in range(240))


def test_the_nearest_are_kept(images):
    noise = np.random.default_rng(0).normal(0, 1, (10, 64, 64))
    worse = np.stack([np.clip(images[0] + n * 5 * (12 - k), 0, 255) for k, n in enumerate(noise)])
    both = np.concatenate([images[:1], worse.astype(np.uint8), images[:1]])
    assert ends(search(both, partners=1))[0] == (0, 11)


def test_thresholds_are_what_they_say(images):
    loose = search(images, correlation=0.5, distance=14)
    for distance, correlation in [(10, 0.8), (6, 0.7), (0, 0.0)]:
        some = search(images, distance=distance, correlation=correlation)
        assert some.pairs == [
            pair
            for pair in loose.pairs
            if pair.distance <= distance and pair.correlation >= correlation
        ]
    assert len(loose.pairs) > 10


def test_scans_on_disk_are_compared_as_in_memory(images, tmp_path):
    np.save(tmp_path / "images.npy", images)
    on_disk = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert isinstance(on_disk.base, mmap.mmap)  # what is told to let go
    assert search(on_disk) == search(images)


@pytest.mark.parametrize("size", [16, 32, 48, 64, 100])
@pytest.mark.parametrize("kept", [7, 1 << 17])
def test_among_many_scans_the_same_pairs_are_found(images, monkeypatch, kept, size):
    rng = np.random.default_rng(size)
    moved = np.stack([np.roll(image, rng.integers(-2, 3, 2), (0, 1)) for image in images])
    noisy = np.clip(images + rng.normal(0, 6, images.shape), 0, 255).astype(np.uint8)
    both = squares(np.concatenate([images, moved, noisy]), size)
    one_by_one = search(both, distance=14)
    monkeypatch.setattr(duplicates, "MANY", 0)
    monkeypatch.setattr(duplicates, "KEPT", kept)
    monkeypatch.setattr(
        "scangan.preprocessing.duplicates._Comparison.__call__", _count(calls := [])
    )
    assert search(both, distance=14) == one_by_one
    assert len(one_by_one.pairs) > 300
    assert len(calls) < 2 * len(one_by_one.pairs)  # few others are compared as exactly


def _count(calls):
    compare = duplicates._Comparison.__call__

    def counted(*args):
        calls.append(args)
        return compare(*args)

    return counted


def test_the_kernel_correlates_as_opencv_does(images):
    compare = duplicates._Comparison(np.concatenate([images, np.roll(images, (1, -2), (1, 2))]))
    rough = duplicates._RoughComparison(compare, 0)
    details = np.stack([rough._detail(other) for other in range(480)])
    alike = 0
    for first in range(0, 240, 12):
        found = likenesses(details[first, 2:-2, 2:-2].astype(np.int16), details)
        exact = np.array([compare(first, other) for other in range(480)])
        near = exact > 0.6
        assert np.abs(found - exact)[near].max() < 0.01 and (found < exact + 0.01).all()
        alike += near.sum()
    assert alike >= 40  # each with itself and its moved copy
    assert likenesses(details[0, 2:-2, 2:-2].astype(np.int16), 0 * details[:3]).tolist() == [-1] * 3


def test_small_scans_are_compared_too(images):
    for size in (16, 32):
        small = squares(images, size)
        assert {(i, 240 + i) for i in range(240)} <= set(
            ends(search(np.concatenate([small, small])))
        )


def test_leaks_are_those_across_classes_or_subjects_or_of_unknown_subjects():
    pairs = [Pair(0, second, 0, 1.0) for second in range(1, 5)]
    classes = np.array([0, 0, 0, 0, 1])
    subjects = np.array([5, 5, 6, -1, 5])
    assert leaks(pairs, classes, subjects) == [
        Leak(pairs[1], "subjects"),
        Leak(pairs[2], "unknown subjects"),
        Leak(pairs[3], "classes"),
    ]


def test_nothing_to_compare_is_nothing_found(images):
    for count in (0, 1):
        assert search(images[:count]) == ([], 0)
