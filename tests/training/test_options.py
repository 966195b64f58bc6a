"""Options: what is taken, what is refused, how they are read and written."""

import dataclasses
import json
import math

import pytest

from scangan.artifacts.train_options import (
    COMMAND_LINE,
    describe_options,
    nearest,
    parse_assignment,
)
from scangan.core.errors import USAGE
from scangan.training import TrainingError, TrainOptions

FIELDS = {field.name: field for field in dataclasses.fields(TrainOptions)}
RANGES = [name for name, field in FIELDS.items() if field.metadata["low"] is not None]
CHOICES = [name for name, field in FIELDS.items() if field.metadata["choices"] is not None]
BOOLS = [name for name, field in FIELDS.items() if isinstance(field.default, bool)]
INTS = [name for name in FIELDS if type(FIELDS[name].default) is int]

# Values that go together with those at the ends of a range.
BESIDE = {"ramp_start": {"ramp_end": 1e9}, "per_class": {"arch": "dcgan"}}

OTHERS = {
    "arch": "dcgan", "per_class": True, "size": 128, "kimg": 0.5, "batch": 12, "seed": 2**32 - 1,
    "tick": 2.5, "augment": ("flip", "cutout"), "spectral_norm": False, "ramp_start": 1.5,
    "ramp_end": 3.25, "head": "auxiliary", "lr_g": 1e-5,
}  # fmt: skip


def _refused(make, *says):
    """The line by which `make` is refused; it holds all of `says`."""
    with pytest.raises(TrainingError) as refused:
        make()
    line = str(refused.value)
    assert "\n" not in line and refused.value.exit_code == USAGE
    for part in says:
        assert part in line
    return line


def _shown(name):
    return f"--{name.replace('_', '-')}" if name in COMMAND_LINE else name


def test_every_field_is_of_one_kind_and_has_help_and_says_what_it_takes():
    for name, field in FIELDS.items():
        assert field.metadata["help"] and "\n" not in field.metadata["help"], name
        takes = [name in RANGES, name in CHOICES, name in BOOLS]
        assert takes.count(True) == 1, name
        if name in CHOICES:
            default = field.default if isinstance(field.default, tuple) else (field.default,)
            assert set(default) <= set(field.metadata["choices"])


@pytest.mark.parametrize("name", RANGES)
def test_a_range_holds_its_ends_and_nothing_beyond(name):
    low, high = FIELDS[name].metadata["low"], FIELDS[name].metadata["high"]
    kind = int if name in INTS else float
    beside = BESIDE.get(name, {})
    for value in (low, high):
        options = TrainOptions(**{name: kind(value)} | beside)
        assert getattr(options, name) == value
    below = low - 1 if kind is int else math.nextafter(low, -math.inf)
    above = high + 1 if kind is int else math.nextafter(high, math.inf)
    limits = f"{low} to {high}" if kind is int else f"{low:g} to {high:g}"
    for value in (below, above):
        _refused(
            lambda v=value: TrainOptions(**{name: kind(v)} | beside),
            f"{_shown(name)} ", "is out of range; it takes ", limits,
        )  # fmt: skip


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_or_endless_is_refused(name, value):
    _refused(lambda: TrainOptions(**{name: value}), name.split("_")[0])
    _refused(lambda: TrainOptions.from_dict({name: value}), name.split("_")[0])
    _refused(lambda: TrainOptions.from_dict(dict([parse_assignment(f"{name}={value}")])))


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_takes_all_that_are_offered_and_nothing_else(name):
    offered = FIELDS[name].metadata["choices"]
    for choice in offered:
        value = (choice,) if name == "augment" else choice
        assert getattr(TrainOptions(**{name: value}), name) == value
    odd = 48 if isinstance(offered[0], int) else "odd"
    value = ("flip", "odd") if name == "augment" else odd
    _refused(
        lambda: TrainOptions(**{name: value}),
        f"{_shown(name)} {odd} is not supported; it takes {', '.join(map(str, offered))}",
    )


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"batch": 30}, "--batch 30 is not a multiple of 4; try 32"),
        ({"ramp_start": 5.0}, "ramp_start 5"),
        ({"per_class": True}, "--arch dcgan"),
        # Python may give anything
        ({"width": "64"}, "width '64' is not of type int"),
        ({"width": 32.5}, "width 32.5 is not of type int"),
        ({"width": None}, "width None is not of type int"),
        ({"width": True}, "width True is not of type int"),
        ({"kimg": "1"}, "kimg '1' is not of type float"),
        ({"kimg": True}, "kimg True is not of type float"),
        ({"tick": "1"}, "tick '1' is not of type float"),
        ({"size": 64.0}, "size 64.0 is not of type int"),
        ({"spectral_norm": "no"}, "spectral_norm 'no' is not of type bool"),
        ({"spectral_norm": 0}, "spectral_norm 0 is not of type bool"),
        ({"augment": ["flip"]}, "augment ['flip'] is not of type tuple"),
        ({"augment": False}, "augment False is not of type tuple"),
        ({"loss": 5}, "loss 5 is not of type str"),
    ],
)
def test_what_does_not_fit_is_refused_by_one_line(values, says):
    _refused(lambda: TrainOptions(**values), says)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"width": "many"}, "width 'many' is not a whole number"),
        ({"width": 32.5}, "width 32.5 is not a whole number"),
        ({"width": "32.5"}, "width '32.5' is not a whole number"),
        ({"width": True}, "width True is not a whole number"),
        ({"width": None}, "width None is not a whole number"),
        ({"width": 10**400}, "is not a whole number"),
        ({"width": []}, "width [] is not a whole number"),
        ({"kimg": False}, "kimg False is not a number"),
        ({"kimg": ""}, "kimg '' is not a number"),
        ({"kimg": [1]}, "kimg [1] is not a number"),
        ({"tick": "often"}, "tick 'often' is not a number"),
        ({"balanced": 1}, "balanced 1 is not true or false"),
        ({"balanced": "yes"}, "balanced 'yes' is not true or false"),
        ({"augment": 3}, "augment 3 is not a list"),
        ({"augment": [3]}, "augment [3] is not a list"),
        ({"augment": None}, "augment None is not a list"),
        ({"loss": True}, "loss True is not text"),
        ({"widht": 3}, "there is no option 'widht' (did you mean width?)"),
        ({"zzz": 3}, "there is no option 'zzz'"),
    ],
)
def test_values_of_a_file_that_do_not_fit_are_refused_by_one_line(values, says):
    _refused(lambda: TrainOptions.from_dict(values), says)


def test_numbers_may_be_written_in_any_way():
    values = {"width": "1e2", "seed": 7.0, "kimg": "1e-1", "lr_g": 1, "latent": " 64 "}
    options = TrainOptions.from_dict(values)
    assert (options.width, options.seed, options.latent) == (100, 7, 64)
    assert (options.kimg, options.lr_g) == (0.1, 1.0)
    assert [type(getattr(options, name)) for name in values] == [int, int, float, float, int]


def test_the_largest_seed_is_read_without_loss():
    assert parse_assignment(f"seed={2**32 - 1}") == ("seed", 2**32 - 1)


@pytest.mark.parametrize("given", [{}, OTHERS])
def test_options_survive_json(given):
    options = TrainOptions(**given)
    assert TrainOptions.from_dict(json.loads(json.dumps(options.to_dict()))) == options
    assert options.to_dict().keys() == FIELDS.keys()


def test_what_is_left_out_has_its_default():
    assert TrainOptions.from_dict({}) == TrainOptions()
    assert TrainOptions.from_dict({"width": 8}) == TrainOptions(width=8)


def test_every_option_is_described_by_a_line():
    for (name, field), line in zip(FIELDS.items(), describe_options(), strict=True):
        assert line.startswith(f"{name} = ") and field.metadata["help"] in line
        assert "\n" not in line
        if name in CHOICES:
            assert ", ".join(map(str, field.metadata["choices"])) in line


def test_the_nearest_name_is_named_or_none():
    assert nearest("widht", FIELDS) == " (did you mean width?)"
    assert nearest("qqqqqq", FIELDS) == ""


@pytest.mark.parametrize(("kimg", "batch", "steps"), [(1.28, 16, 80), (0.001, 64, 1), (1, 12, 83)])
def test_the_length_in_steps(kimg, batch, steps):
    assert TrainOptions(kimg=kimg, batch=batch).steps == steps


def test_ticks_are_as_often_as_asked():
    options = TrainOptions(kimg=1.6, batch=16, tick=0.16)
    assert [s for s in range(1, 101) if options.is_tick(s)] == list(range(10, 101, 10))
    by_itself = TrainOptions(kimg=200, batch=16)  # every 20 kimg
    assert [s for s in range(1, 12501) if by_itself.is_tick(s)] == list(range(1250, 12501, 1250))
