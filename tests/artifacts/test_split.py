"""Train, val and test: by subject, and every class in proportion."""

import numpy as np
import pytest

from scangan.artifacts.split import lacking, parse_split, split_indices, together
from scangan.core.errors import PreprocessingError

FRACTIONS = (0.8, 0.1, 0.1)


def patients(seed=0, count=2000):
    """Groups and classes like those of chest_xray_kermany: 1 to 30 scans a patient, 1 : 3."""
    rng = np.random.default_rng(seed)
    sizes = np.minimum(rng.geometric(0.55, count), 30)
    sizes[rng.choice(count, 20, replace=False)] = rng.integers(8, 31, 20)
    groups = np.repeat(np.arange(count), sizes)
    classes = np.repeat((rng.random(count) < 0.75).astype(np.int64), sizes)
    order = rng.permutation(len(groups))
    return groups[order], classes[order]


@pytest.mark.parametrize("fractions", [FRACTIONS, (0.7, 0.15, 0.15), (0.5, 0.5), (0.9, 0.1)])
@pytest.mark.parametrize("seed", range(5))
def test_every_class_is_divided_as_asked_and_no_group_is_torn(fractions, seed):
    groups, classes = patients(seed)
    subsets = split_indices(groups, classes, fractions)
    assert sorted(np.concatenate(subsets).tolist()) == list(range(len(groups)))
    assert all((np.diff(subset) > 0).all() for subset in subsets)
    owners = [set(groups[subset].tolist()) for subset in subsets]
    assert sum(map(len, owners)) == len(set().union(*owners))
    for subset, fraction in zip(subsets, fractions):
        wanted = np.bincount(classes) * fraction
        assert np.abs(np.bincount(classes[subset]) - wanted).max() < 1.5


def test_large_groups_are_spread_like_small_ones():
    groups, classes = patients()
    sizes = [
        len(subset) / len(set(groups[subset].tolist()))
        for subset in split_indices(groups, classes, FRACTIONS)
    ]
    assert max(sizes) < 1.05 * min(sizes)


def test_groups_of_several_classes_are_divided_too():
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 600, 4000)
    classes = rng.choice(5, 4000, p=[0.5, 0.3, 0.1, 0.07, 0.03])
    for subset, fraction in zip(split_indices(groups, classes, FRACTIONS), FRACTIONS):
        wanted = np.bincount(classes) * fraction
        assert (np.abs(np.bincount(classes[subset]) - wanted) <= np.maximum(2, 0.02 * wanted)).all()


def test_a_split_is_the_same_everywhere_until_the_seed_changes():
    groups, classes = np.arange(40) // 2, np.zeros(40, np.int64)
    one = [subset.tolist() for subset in split_indices(groups, classes, FRACTIONS)]
    # Known answer: a change would move patients of existing datasets from train to test.
    assert one[1:] == [[0, 1, 22, 23], [10, 11, 36, 37]]
    assert [p.tolist() for p in split_indices(groups, classes, FRACTIONS, seed=0)] == one
    assert [p.tolist() for p in split_indices(groups, classes, FRACTIONS, seed=1)] != one


def test_the_order_of_the_files_does_not_decide():
    hospitals = np.repeat([0, 1], 500)  # the second one's files come last
    subsets = split_indices(np.arange(1000), np.zeros(1000, np.int64), FRACTIONS)
    assert all(0.35 < hospitals[subset].mean() < 0.65 for subset in subsets)


def test_a_class_of_few_groups_comes_into_train_and_is_named():
    groups = np.arange(102)
    classes = np.array([0] * 100 + [1, 1])
    subsets = split_indices(groups, classes, FRACTIONS)
    assert set(subsets[0].tolist()) >= {100, 101}
    assert lacking(subsets, classes) == {1: [1, 2]}


@pytest.mark.parametrize(
    ("classes", "patients", "fractions"),
    [
        (4, 5, FRACTIONS),
        (4, 5, (0.9, 0.1)),
        (20, 5, FRACTIONS),
        (10, 2, (0.8, 0.2)),
    ],
)
def test_classes_of_few_patients_together_fill_every_subset(classes, patients, fractions):
    """Each class alone has too few for the smallest subset."""
    groups = np.arange(classes * patients)
    labels = groups % classes
    subsets = split_indices(groups, labels, fractions)
    for subset, fraction in zip(subsets, fractions):
        assert abs(len(subset) - fraction * len(groups)) < 1 + 0.05 * len(groups)
    assert set(labels[subsets[0]]) == set(range(classes))
    # Groups that are in train already do not count as filling a subset.
    both = np.concatenate([groups, groups.max() + 1 + np.arange(7)])
    fixed = both > groups.max()
    with_fixed = split_indices(both, np.append(labels, [0] * 7), fractions, in_train=fixed)
    assert [subset[~fixed[subset]].tolist() for subset in with_fixed] == [
        subset.tolist() for subset in subsets
    ]


def test_one_huge_group_goes_to_the_largest_subset():
    groups = np.array([0] * 500 + list(range(1, 501)))
    train, val, test = split_indices(groups, np.zeros(1000, np.int64), FRACTIONS)
    assert set(range(500)) <= set(train.tolist())
    assert (len(val), len(test)) == (100, 100)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_too_few_groups_are_an_error_that_counts_them(count):
    groups = np.arange(40) % count
    with pytest.raises(
        PreprocessingError, match=rf"^{count} groups? of scans .* --split 0.8,0.1,0.1; a subset"
    ):
        split_indices(groups, np.zeros(40, np.int64), FRACTIONS)


@pytest.mark.parametrize(
    ("text", "fractions"),
    [
        ("0.8,0.1,0.1", (0.8, 0.1, 0.1)),
        ("0.75, .25", (0.75, 0.25)),
        ("0.3333333,0.3333333,0.3333334", (0.3333333, 0.3333333, 0.3333334)),
    ],
)
def test_fractions_are_read(text, fractions):
    assert parse_split(text) == fractions


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0.8,0.1", "adds up to 0.9, not 1"),
        ("0.8,0.2,0.2", "adds up to 1.2, not 1"),
        ("80,10,10", "is not a split"),
        ("1", "is not a split"),
        ("1,0", "is not a split"),
        ("0.5,0.5,0", "is not a split"),
        ("1,1e-9", "is not a split"),
        ("0.5,0.4999985", "adds up to 0.99999"),
        ("1.5,-0.5", "is not a split"),
        ("0.25,0.25,0.25,0.25", "is not a split"),
        ("nan,nan", "is not a split"),
        ("", "is not a split"),
        ("a,b", "is not a split"),
    ],
)
def test_fractions_that_make_no_split_are_a_usage_error(text, says):
    with pytest.raises(PreprocessingError) as error:
        parse_split(text)
    told = str(error.value)
    assert told.startswith(f"--split {text!r} {says}")
    assert told.endswith(
        "; it takes fractions for train,val,test (0.8,0.1,0.1) or train,test (0.8,0.2)"
    )
    assert error.value.exit_code == 2


def test_items_that_share_any_key_are_together():
    subjects = np.array([0, -1, 1, -1, 0, 2, -1])
    files = np.array([1, 2, 3, 3, 4, 5, 6])
    groups = together(subjects, files, pairs=[(1, 5)])
    assert groups.tolist() == [0, 1, 2, 2, 0, 1, 3]
    assert groups.dtype == np.int64
    assert together(np.array([0, -1, 0])).tolist() == [0, 1, 0]


def test_groups_are_those_of_a_plain_search():
    rng = np.random.default_rng(0)
    for _ in range(50):
        keys = [rng.integers(0, 25, 30) for _ in range(2)]
        pairs = rng.integers(0, 30, (3, 2)).tolist()
        edges = {(i, j) for key in keys for i in range(30) for j in range(30) if key[i] == key[j]}
        edges |= {(i, j) for i, j in pairs} | {(j, i) for i, j in pairs}
        slow = list(range(30))
        for _ in range(30):
            slow = [min(slow[j] for j in range(30) if (i, j) in edges) for i in range(30)]
        numbers = {}
        expected = [numbers.setdefault(root, len(numbers)) for root in slow]
        assert together(*keys, pairs=pairs).tolist() == expected
