"""The scans of a run: what is held back, what is refused, what is warned of."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from scangan.artifacts.dataset import PreparedDataset
from scangan.artifacts.dataset_records import Item
from scangan.artifacts.run import Run
from scangan.artifacts.split import together
from scangan.preprocessing.duplicates import near_duplicates, perceptual_hash
from scangan.training import TrainingError, TrainOptions
from scangan.training.data import (
    TrainingScans,
    check_counts,
    enlarged_warning,
    hold_back,
    open_source,
)
from scangan.training.step import make_step


def _dataset(counts, subjects=None, images=None, **columns):
    """A dataset of so many scans of each class; `columns` are values of the items, one a scan."""
    labels = np.repeat(np.arange(len(counts)), list(counts.values()))
    names = tuple(counts)
    if images is None:
        images = np.zeros((len(labels), 8, 8), np.uint8)
    unsaid = {
        "sha256": "", "subject": None, "frame": 0, "window": None, "perceptual_hash": "",
        "enlarged": False, "aspect": 1.0, "blank": "", "synthetic": False, "notes": (), "group": None,
    }  # fmt: skip
    items = [
        Item(
            **unsaid
            | {"file": f"{n}.png", "class_name": names[label], "duplicate_group": n}
            | {"subject": None if subjects is None else subjects[n]}
            | {name: values[n] for name, values in columns.items()}
        )
        for n, label in enumerate(labels)
    ]
    pairs = []
    if "perceptual_hash" in columns:
        hashes = np.array([perceptual_hash(image) for image in images])
        pairs = [(pair.first, pair.second) for pair in near_duplicates(images, hashes).pairs]
    keys = ([getattr(i, key) for i in items] for key in ("subject", "file", "duplicate_group"))
    groups = together(*map(_numbers, keys), pairs=pairs)
    items = [replace(item, group=int(group)) for item, group in zip(items, groups)]
    return PreparedDataset(Path("brain"), images, labels, names, items, None, names)


def _numbers(values):
    known = list(dict.fromkeys(values))
    return np.array([-1 if value is None else known.index(value) for value in values])


def _torn(held, values):
    """Which values are on both sides."""
    sides = ({v for v, h in zip(values, held) if h is side} for side in (True, False))
    return set.intersection(*sides)


def _hashed(images, counts, **columns):
    hashes = [perceptual_hash(image).astype(">u8").tobytes().hex() for image in images]
    return _dataset(counts, images=images, perceptual_hash=hashes, **columns)


@pytest.mark.parametrize("share", [0.15, 0.3, 0.5])
def test_the_share_is_held_back_of_every_class(share):
    dataset = _dataset({"glioma": 300, "none": 60, "pituitary": 100})
    held = hold_back(dataset, share)
    assert held.dtype == bool and held.shape == (460,)
    for label, count in enumerate((300, 60, 100)):
        assert abs(held[dataset.labels == label].sum() - share * count) <= 1


def test_real_scans_are_held_back_by_class(prepared):
    held = hold_back(prepared, 0.15)
    counts = np.bincount(prepared.labels[held])
    assert (abs(counts - 0.15 * np.bincount(prepared.labels)) <= 1).all()


def test_nothing_is_held_back_where_nothing_is_asked_for(prepared):
    assert not hold_back(prepared, 0.0).any()


def test_the_same_scans_are_held_back_each_time():
    datasets = [_dataset({"a": 100, "b": 80}) for _ in range(2)]
    one, two = (hold_back(dataset, 0.2) for dataset in datasets)
    assert np.array_equal(one, two)


def test_subjects_stay_on_one_side():
    subjects = [f"s{n % 23}" for n in range(200)]
    held = hold_back(_dataset({"a": 120, "b": 80}, subjects), 0.2).tolist()
    assert 30 < sum(held) < 50
    assert not _torn(held, subjects)


def test_slices_of_a_file_and_copies_stay_on_one_side():
    volumes = [f"{n // 10}.nii" for n in range(200)]
    held = hold_back(_dataset({"a": 120, "b": 80}, file=volumes), 0.2).tolist()
    assert sum(held) and not _torn(held, volumes)
    copies = [n // 2 * 2 for n in range(200)]
    held = hold_back(_dataset({"a": 120, "b": 80}, duplicate_group=copies), 0.2).tolist()
    assert sum(held) and not _torn(held, copies)


def test_scans_that_show_the_same_stay_on_one_side(prepared):
    first = np.array(prepared.images[prepared.labels < 2])
    again = np.clip(first.astype(int) * 1.1 + 5, 0, 255).astype(np.uint8)  # another window
    counts = {"a": len(first), "b": len(again)}
    pictures = [*range(len(first))] * 2
    held = hold_back(_hashed(np.concatenate([first, again]), counts), 0.2).tolist()
    assert sum(held) and not _torn(held, pictures)
    unhashed = _dataset(counts, images=np.concatenate([first, again]))
    assert _torn(hold_back(unhashed, 0.2).tolist(), pictures)  # that is what the hashes are for


@pytest.mark.parametrize("count", [12, 20, 40])
def test_a_class_too_small_to_give_up_eight_scans_gives_up_none(count):
    dataset = _dataset({"a": 200, "rare": count})
    held = hold_back(dataset, 0.15)
    assert not held[dataset.labels == 1].any()
    assert abs(held[dataset.labels == 0].sum() - 30) <= 1


@pytest.mark.parametrize(
    "counts", [{"a": 600, "rare": 40}, {"a": 60, "b": 2}, {f"class {k}": 40 for k in range(10)}]
)
def test_of_scans_that_are_scored_together_every_class_gives_up_its_share(counts):
    dataset = _dataset(counts)
    held = hold_back(dataset, 0.15, by_class=False)
    for number, count in enumerate(counts.values()):
        assert abs(held[dataset.labels == number].sum() - 0.15 * count) <= 1
    few = _dataset({"a": 20, "b": 20})
    assert not hold_back(few, 0.15, by_class=False).any()


def test_a_class_keeps_eight_scans_to_train_on():
    # The largest group is trained on, with seven scans of `b`; the other eight would be held back.
    subjects = ["x"] * 20 + [f"s{n}" for n in range(80)] + ["x"] * 7 + ["y"] * 8
    dataset = _dataset({"a": 100, "b": 15}, subjects)
    held = hold_back(dataset, 0.5)
    assert not held[dataset.labels == 1].any() and held.any()


def test_subjects_of_a_class_too_small_stay_on_one_side_too():
    # The rare class gives up none: then neither may the other scans of its subjects be held back.
    subjects = [f"s{n % 50}" for n in range(120)]
    dataset = _dataset({"a": 100, "rare": 20}, subjects)
    held = hold_back(dataset, 0.15)
    assert not held[dataset.labels == 1].any()
    assert held.any() and not _torn(held.tolist(), subjects)


def test_a_class_that_is_left_with_too_few_by_that_gives_up_none_either():
    # All subjects of `b` whom chance holds back may have a scan of the rare class.
    subjects = [f"s{n}" for n in range(100)] + [f"t{n}" for n in range(60)] * 2
    for rare in range(1, 60):
        dataset = _dataset({"a": 100, "b": 60, "rare": rare}, subjects[: 160 + rare])
        held = hold_back(dataset, 0.15)
        assert not _torn(held.tolist(), subjects[: 160 + rare])
        for label in range(3):
            of_class = held[dataset.labels == label]
            assert of_class.sum() == 0 or min(of_class.sum(), (~of_class).sum()) >= 8
        assert held[:100].any()


def test_one_subject_alone_is_not_divided():
    assert not hold_back(_dataset({"a": 50, "b": 50}, ["s"] * 100), 0.2).any()


def test_scans_held_back_are_never_trained_on():
    images = np.arange(40, dtype=np.uint8)[:, None, None].repeat(16, 1).repeat(16, 2)
    held = np.arange(40) % 3 == 0
    scans = TrainingScans(images, np.arange(40) % 2, ("a", "b"), held)
    options = TrainOptions(size=16, width=4, latent=4, batch=8)
    sampler = make_step(options, scans, torch.device("cpu")).sampler
    assert sampler.images[:, 0, 0].tolist() == np.flatnonzero(~held).tolist()
    assert sampler.labels.tolist() == (np.flatnonzero(~held) % 2).tolist()


def test_one_class_alone_or_all_as_one():
    images = np.arange(6, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2)
    held = np.array([True, False, True, False, False, True])
    scans = TrainingScans(images, np.array([0, 1, 1, 0, 1, 1]), ("a", "b"), held)
    of_b = scans.of_class(1)
    assert of_b.images[:, 0, 0].tolist() == [1, 2, 4, 5] and of_b.classes == ("b",)
    assert of_b.labels.tolist() == [0] * 4 and of_b.labels.dtype == np.int64
    assert of_b.held_back.tolist() == [False, True, False, True]
    as_one = scans.whatever_class()
    assert as_one.classes == ("all",) and as_one.labels.tolist() == [0] * 6
    assert as_one.images is scans.images and as_one.held_back is scans.held_back
    assert scans.labels.any()  # left alone


ACGAN, DCGAN = TrainOptions(), TrainOptions(arch="dcgan")
EACH = TrainOptions(arch="dcgan", per_class=True)


@pytest.mark.parametrize(
    ("counts", "options", "says"),
    [
        ({"glioma": 50}, ACGAN, "only one class (glioma); an ACGAN needs two or more: use --arch dcgan"),
        ({"a": 50, "b": 7}, ACGAN, "too few scans of 'b' (7): each class needs at least 8"),
        ({"a": 50, "b": 7}, EACH, "too few scans of 'b' (7): each class needs at least 8"),
        ({"a": 3, "b": 50, "c": 0}, ACGAN, "too few scans of 'a' (3), 'c' (0)"),
        ({"a": 4, "b": 3}, DCGAN, "7 scans are too few; training needs 8"),
    ],
)  # fmt: skip
def test_classes_of_which_nothing_can_be_learnt_are_refused(counts, options, says):
    with pytest.raises(TrainingError) as refused:
        check_counts(_dataset(counts), options)
    assert says in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("counts", "options"),
    [({"a": 8, "b": 8}, ACGAN), ({"a": 8, "b": 8}, EACH), ({"a": 8}, EACH), ({"a": 1, "b": 7}, DCGAN)],
)  # fmt: skip
def test_eight_scans_are_enough(counts, options):
    check_counts(_dataset(counts), options)


def test_enlarged_scans_are_warned_of():
    enlarged = [n < 3 for n in range(10)]
    warning = enlarged_warning(_dataset({"a": 10}, enlarged=enlarged))
    assert warning.startswith("3 of 10 scans are smaller than 8 pixels; ")
    assert "\n" not in warning
    assert enlarged_warning(_dataset({"a": 10}, enlarged=[False] * 10)) is None


def test_a_prepared_dataset_is_opened_and_another_size_refused(prepared, tmp_path):
    options = TrainOptions(size=32)
    opened = open_source(prepared.path, Run(tmp_path / "unused"), options)
    assert opened.fingerprint == prepared.fingerprint and not (tmp_path / "unused").exists()
    with pytest.raises(TrainingError, match=r"at 32 pixels, not 64; use --size 32"):
        open_source(prepared.path, Run(tmp_path / "unused"), dataclasses.replace(options, size=64))


def test_a_folder_of_scans_is_prepared_and_said_so(some_scans, tmp_path):
    said = []
    opened = open_source(some_scans, Run(tmp_path), TrainOptions(size=16), said.append)
    assert opened.size == 16 and len(opened.items) == 20
    assert len(said) == 1 and "\n" not in said[0]
    assert (tmp_path / "dataset/images.npy").exists()
