"""Recipes: what they hold, how they are named, read and overridden, and that every key counts."""

import dataclasses
import functools
import re
import tomllib

import numpy as np
import pytest
import torch

from scangan.artifacts.modelfile import read_model_file
from scangan.artifacts.train_options import parse_assignment
from scangan.core.errors import USAGE
from scangan.runtime.catalog import BUNDLED
from scangan.training import TrainingError, TrainOptions, step, train_gan
from scangan.training.data import TrainingScans
from scangan.training.early_stopping import EarlyStopping
from scangan.training.recipe import (
    DEFAULT,
    FOLDER,
    check_effects,
    describe_recipes,
    options_from,
    read_recipe,
    recipe_names,
)
from scangan.training.step import make_step

KEYS = {field.name for field in dataclasses.fields(TrainOptions)}
OF_THE_USER = {"seed", "tick"}  # of one run, not of a recipe


def _refused(make):
    with pytest.raises(TrainingError) as refused:
        make()
    assert "\n" not in str(refused.value) and refused.value.exit_code == USAGE
    return str(refused.value)


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_says_everything_on_one_screen(name):
    text = (FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    assert tomllib.loads(text).keys() - {"lateral"} == KEYS - OF_THE_USER | {"description"}
    assert len(text.splitlines()) <= 66
    assert max(map(len, text.splitlines())) <= 120


def test_the_default_recipe_is_the_options_defaults():
    assert options_from(DEFAULT, {}) == TrainOptions()
    assert recipe_names()[0] == DEFAULT == "stable"
    assert len(set(recipe_names())) == len(list(FOLDER.glob("*.toml")))


def test_recipes_are_described_by_a_line_each():
    lines = describe_recipes()
    assert [line.split()[0] for line in lines] == recipe_names()
    for name, line in zip(recipe_names(), lines):
        description = read_recipe(name)["description"]
        assert "\n" not in line and line.endswith(description) and 10 < len(description) < 110
    assert len({line.index(read_recipe(line.split()[0])["description"]) for line in lines}) == 1


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("stabel", "there is no recipe 'stabel' (did you mean stable?); see"),
        ("classic-dcgn", "did you mean classic-dcgan?"),
        ("zzz", "there is no recipe 'zzz'; see train-gan --list-recipes"),
        ("../recipes/stable", "there is no recipe"),
        ("nowhere/mine.toml", "nowhere/mine.toml does not exist"),
    ],
)
def test_an_unknown_recipe_is_refused_with_the_nearest(name, says):
    assert says in _refused(lambda: read_recipe(name))


def test_ones_own_file_may_hold_a_few_values_only(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('width = 16\naugment = ["flip"]\nlr_g = 1e-3\n')
    want = TrainOptions(width=16, augment=("flip",), lr_g=1e-3)
    assert options_from(str(file), {}) == want
    assert options_from(str(file), {"width": 8}) == dataclasses.replace(want, width=8)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("widht = 3", "there is no option 'widht' (did you mean width?)"),
        ("[generator]\nwidth = 3", "there is no option 'generator'"),
        ('width = "many"', "width 'many' is not a whole number"),
        ("width = 3", "--width 3 is out of range"),
        ("lr_g = nan", "lr_g nan is out of range"),
        ("augment = [1, 2]", "augment [1, 2] is not a list of names"),
        (
            "seed = 9007199254740993",
            "--seed 9007199254740993 is out of range; it takes 0 to 4294967295",
        ),
    ],
)
def test_ones_own_file_is_named_where_it_does_not_fit(tmp_path, text, says):
    file = tmp_path / "mine.toml"
    file.write_text(text)
    line = _refused(lambda: options_from(str(file), {}))
    assert line.startswith(str(file)) and says in line


@pytest.mark.parametrize("content", [b"width 3", b"\xff\xfe", b'a = "'])
def test_what_is_no_recipe_is_refused_by_one_line(tmp_path, content):
    file = tmp_path / "mine.toml"
    file.write_bytes(content)
    with pytest.raises(TrainingError, match=r"mine\.toml cannot be read as a recipe") as refused:
        read_recipe(str(file))
    assert "\n" not in str(refused.value)


def test_a_folder_is_no_recipe(tmp_path):
    (tmp_path / "mine.toml").mkdir()
    with pytest.raises(TrainingError, match=r"cannot be read as a recipe: Is a directory$"):
        read_recipe(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("width=16", "width", 16),
        ("lr-g=1e-4", "lr_g", 1e-4),
        (" lr_g = 1e-4 ", "lr_g", 1e-4),
        ("r1=1", "r1", 1.0),
        ("minibatch-std=false", "minibatch_std", False),
        ("balanced=True", "balanced", True),
        ("loss=bce", "loss", "bce"),
        ("head=projection+auxiliary-normalized", "head", "projection+auxiliary-normalized"),
        ("augment=flip, cutout", "augment", ("flip", "cutout")),
        ("augment=flip", "augment", ("flip",)),
        ("augment=", "augment", ()),
        ("tick=2", "tick", 2.0),
    ],
)
def test_assignments_are_read_in_the_options_own_type(text, key, value):
    got = parse_assignment(text)
    assert got == (key, value) and type(got[1]) is type(value)
    assert getattr(options_from(DEFAULT, dict([got])), key) == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("width", "is not key=value; for example --set width=64"),
        ("", "is not key=value"),
        ("=3", "there is no option ''"),
        ("widht=3", "there is no option 'widht' (did you mean width?); see"),
        ("minibatch-sdt=true", "did you mean minibatch_std?"),
        ("description=mine", "there is no option 'description'"),
        ("width=wide", "width 'wide' is not a whole number"),
        ("width=", "width '' is not a whole number"),
        ("lr_g=fast", "lr_g 'fast' is not a number"),
        ("lr_g=1=2", "lr_g '1=2' is not a number"),
        ("balanced=yes", "balanced 'yes' is not true or false"),
    ],
)
def test_an_assignment_that_cannot_be_read_is_refused_by_one_line(text, says):
    assert says in _refused(lambda: parse_assignment(text))


@pytest.mark.parametrize(
    ("recipe", "changes", "says"),
    [
        (
            "classic-acgan",
            {"lecam": 0.1},
            "lecam 0.1 has no effect here: it needs loss=hinge; set that, or leave lecam out",
        ),
        ("stable", {"label_flip": 0.1}, "label_flip 0.1 .* loss=bce"),
        ("stable", {"lr_hold": 0.5}, "lr_hold 0.5 .* needs lr_schedule=linear"),
        ("stable", {"feature_every": 2}, "feature_every 2 .* needs feature_weight above 0"),
        (
            "stable",
            {"augment": (), "augment_p": 0.5},
            "augment_p 0.5 .* needs operations in augment",
        ),
        ("classic-dcgan", {"aux_on_fake": True}, "aux_on_fake true .* arch=acgan"),
        (
            "stable",
            {"head": "projection", "aux_weight": 1.0},
            "aux_weight 1.0 .* needs a head with auxiliary",
        ),
    ],
)
def test_an_option_without_effect_is_refused(recipe, changes, says):
    options = options_from(recipe, changes)
    assert re.search(says, _refused(lambda: check_effects(options, changes)))


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        ("classic-acgan", {"loss": "hinge"}),  # the recipe smooths labels, not the user
        ("classic-acgan", {"loss": "hinge", "label_smoothing": 0.0}),
        ("classic-dcgan", {"balanced": False}),
        ("classic-dcgan", {"head": TrainOptions().head}),
    ],
)
def test_what_is_off_needs_no_effect(recipe, changes):
    check_effects(options_from(recipe, changes), changes)


def test_values_given_beside_a_recipe_win_over_it():
    options = options_from("classic-dcgan", dict([parse_assignment("width=64")]) | {"kimg": 5.0})
    assert (options.width, options.kimg, options.loss) == (64, 5.0, "bce")


@pytest.mark.parametrize("name", ["chest-xray-256", "pneumonia-acgan"])
def test_a_recipe_for_scans_whose_sides_differ_refuses_to_mirror_them(name):
    assert not options_from(name, {}).mirror
    assert _refused(lambda: options_from(name, {"mirror": True})) == (
        f"recipe {name}: left and right differ in these scans (lateral = true), so they must not be "
        f"mirrored; leave out mirror, or choose another recipe"
    )
    both = dict([parse_assignment("augment=brightness,flip"), parse_assignment("mirror=true")])
    assert "; leave out mirror and flip, or" in _refused(lambda: options_from(name, both))


def test_a_recipe_of_ones_own_may_refuse_to_mirror(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text("lateral = true\n")
    assert options_from(str(file), {}) == TrainOptions()
    refusal = _refused(lambda: options_from(str(file), {"mirror": True}))
    assert refusal.startswith(f"{file}: left and right differ") and refusal.count("own.toml") == 1
    assert options_from(DEFAULT, {"mirror": True}).mirror
    file.write_text('lateral = "false"\n')
    assert "lateral 'false' is not true or false" in _refused(lambda: options_from(str(file), {}))


# Every key changes the network, the loss or the schedule -----------------------------------------

SMALL = {"size": 16, "width": 4, "latent": 6, "batch": 8, "kimg": 1.0}
CPU = torch.device("cpu")


@functools.cache
def _scans(size):
    """Noise of three classes, the first far more frequent."""
    images = np.random.default_rng(0).integers(0, 256, (48, size, size), dtype=np.uint8)
    labels = np.repeat(np.arange(3), (40, 4, 4))
    return TrainingScans(images, labels, ("a", "b", "c"), np.zeros(48, bool))


def _trained(options, monkeypatch, prepared, out):
    """Losses of two steps, and all tensors after them."""
    taken = make_step(options, _scans(options.size), CPU)
    losses = [taken(n).tolist() for n in range(2)]
    tensors = {
        f"{part}.{name}": tensor.tolist()
        for part in ("generator", "discriminator", "ema")
        for name, tensor in getattr(taken, part).state_dict().items()
    }
    return losses, tensors, float(taken.augment_p)


def _looked_through(options, monkeypatch, prepared, out):
    """The same, where the generator listens to the discriminators of features at once."""
    monkeypatch.setattr(step, "ALONE_KIMG", 0.0)
    return _trained(options, monkeypatch, prepared, out)


def _layers(options, monkeypatch, prepared, out):
    """Names and shapes of all weights."""
    taken = make_step(options, _scans(options.size), CPU)
    networks = (taken.generator, taken.discriminator)
    return [{k: tuple(t.shape) for k, t in n.state_dict().items()} for n in networks]


def _schedule(options, monkeypatch, prepared, out):
    """Length, and where the ticks are."""
    return options.steps, [options.is_tick(n) for n in range(1, options.steps + 1)]


def _stops(options, monkeypatch, prepared, out):
    """Whether a run ends early after 250 kimg in which nothing improved."""
    return EarlyStopping(best_score=1.0).why_stop(250.0, options.patience)


def _started(options, monkeypatch, prepared, out):
    """What is trained on which scans."""
    trained = []

    def session(context, scans):
        trained.append((context.options.arch, len(scans.classes), scans.held_back.tolist()))

    def each_class(context, scans):
        trained.append(("each", len(scans.classes), scans.held_back.tolist()))

    monkeypatch.setattr(train_gan, "train_session", session)
    monkeypatch.setattr(train_gan, "train_each_class", each_class)
    run = train_gan.train(prepared.path, out, dataclasses.replace(options, size=32))
    assert len(trained) == 1
    return trained, run.classes


# For each key: what to look at, another value, and what else must be set for it to count.
COUNTS = {
    "arch": (_started, "dcgan", {}),
    "per_class": (_started, True, {"arch": "dcgan"}),
    "size": (_layers, 32, {}),
    "kimg": (_schedule, 2.0, {}),
    "batch": (_trained, 12, {}),
    "seed": (_trained, 1, {}),
    "tick": (_schedule, 0.1, {}),
    "patience": (_stops, 300.0, {}),
    "held_back": (_started, 0.3, {}),
    "width": (_layers, 8, {}),
    "latent": (_layers, 7, {}),
    "first_map": (_layers, 8, {}),
    "conditioning": (_layers, "product", {}),
    "leak": (_trained, 0.2, {}),
    "spectral_norm": (_layers, False, {}),
    "minibatch_std": (_layers, False, {}),
    "batch_norm": (_layers, True, {}),
    "dropout": (_trained, 0.3, {}),
    "pool": (_layers, "flatten", {}),
    "residual": (_layers, True, {}),
    "head": (_layers, "projection", {}),
    "loss": (_trained, "relativistic", {}),
    "label_smoothing": (_trained, 0.1, {"loss": "bce"}),
    "label_flip": (_trained, 0.3, {"loss": "bce"}),
    "instance_noise": (_trained, 0.1, {}),
    "noise_kimg": (_trained, 0.02, {"instance_noise": 0.1}),
    "g_steps": (_trained, 2, {}),
    "r1": (_trained, 1.0, {}),
    "r2": (_trained, 1.0, {}),
    "penalty_every": (_trained, 1, {"r1": 1.0}),
    "lecam": (_trained, 10.0, {}),
    "feature_weight": (_looked_through, 0.1, {}),
    "feature_every": (_looked_through, 1, {"feature_weight": 0.1}),
    "aux_weight": (_trained, 1.0, {}),
    "aux_on_fake": (_trained, True, {}),
    "lr_g": (_trained, 1e-3, {}),
    "lr_d": (_trained, 1e-3, {}),
    "lr_schedule": (_trained, "linear", {}),
    "lr_hold": (_trained, 0.9, {"lr_schedule": "linear"}),
    "beta1": (_trained, 0.9, {}),
    "beta2": (_trained, 0.9, {}),
    "mirror": (_trained, True, {}),
    "augment": (_trained, ("brightness",), {}),
    "augment_p": (_trained, 0.3, {}),
    "augment_target": (_trained, 0.6, {}),
    "augment_kimg": (_trained, 1.0, {"augment_target": 0.6}),
    # At most the share `ema_warmup` of what was seen: a short half-life tells already in two steps.
    "ema_kimg": (_trained, 0.001, {"ema_warmup": 1.0}),
    "ema_warmup": (_trained, 1.0, {}),
    "balanced": (_trained, False, {}),
    "ramp_start": (_trained, 0.008, {"ramp_end": 0.012}),
    "ramp_end": (_trained, 0.1, {}),
}


def test_the_table_has_every_key_of_the_options():
    assert COUNTS.keys() == KEYS


@pytest.mark.parametrize("key", COUNTS)
def test_every_key_counts(key, monkeypatch, prepared, tmp_path):
    look, value, beside = COUNTS[key]
    options = TrainOptions(**SMALL | beside)
    assert getattr(options, key) != value
    before, again, changed = (
        look(each, monkeypatch, prepared, tmp_path / str(n))
        for n, each in enumerate((options, options, dataclasses.replace(options, **{key: value})))
    )
    assert before == again  # else the next line says nothing
    assert before != changed


@pytest.mark.parametrize(
    ("given", "what", "classes"),
    [({}, "acgan", 4), ({"arch": "dcgan"}, "dcgan", 1),
     ({"arch": "dcgan", "per_class": True}, "each", 4)],
)  # fmt: skip
def test_what_is_trained(given, what, classes, monkeypatch, prepared, tmp_path):
    [(trained, of_classes, _)], names = _started(
        TrainOptions(**SMALL | given), monkeypatch, prepared, tmp_path / "run"
    )
    assert (trained, of_classes) == (what, classes)
    assert names == (prepared.classes if classes > 1 else ())


def test_a_key_that_does_not_count_would_be_noticed(monkeypatch, prepared, tmp_path):
    # Of another loss, of penalties and noise that are off: keys without effect here.
    options = TrainOptions(**SMALL)
    for idle in ({"label_smoothing": 0.1}, {"penalty_every": 3}, {"noise_kimg": 3.0}):
        changed = dataclasses.replace(options, **idle)
        assert _trained(options, None, None, None) == _trained(changed, None, None, None)


@pytest.mark.parametrize("model", ["brain-mri-128", "chest-xray-128"])
def test_the_models_of_128_pixels_were_trained_with_their_recipe(model):
    trained = read_model_file(BUNDLED / f"{model}.onnx").card.recipe["options"]
    wanted = options_from("stable-128", {}).to_dict()
    differ = {key for key in trained if trained[key] != wanted[key]}
    assert differ - {"tick"} == ({"mirror"} if model.startswith("brain") else set())
