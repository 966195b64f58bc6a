"""What an error says to type or to do works, followed literally."""

import json
import re
import shlex
import shutil
from pathlib import Path

import click.testing
import cv2
import numpy as np
import pytest
from exports import exports_once
from few_scores import score_few
from programs import main_of

TRAIN = "--kimg 0.1 --width 4 --latent 8 --device cpu --quiet"


def type_in(line):
    """Run a command line in this process: its exit code, and what it printed."""
    program, *argv = shlex.split(line)
    main = main_of(program)
    done = click.testing.CliRunner().invoke(main, argv)
    return done.exit_code, done.output


def works(line):
    code, output = type_in(line)
    assert code == 0, f"{line}\n{output}"
    return output


def refused(line):
    code, output = type_in(line)
    assert code in (1, 2), f"{line}\n{output}"
    return output.strip().splitlines()[-1]


def images(folder, count=10, first=0, side=24):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(first, first + count):
        seed = [len(str(folder)), i, *str(folder).encode()]
        pixels = np.random.default_rng(seed).integers(0, 255, (side, side), np.uint8)
        (folder / f"{i}.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


@pytest.fixture(scope="module")
def few_scores():
    """Leave out what takes most of the time of such short runs, and export each generator once."""
    with pytest.MonkeyPatch.context() as patch, exports_once():
        score_few(patch.setattr)
        patch.setattr("scangan.export.fidelity.COUNT", 16)
        patch.setattr("scangan.artifacts.train_options.FEWEST_TICKS", 1)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory, few_scores):
    """Two classes of scans, prepared at 16 pixels, a run and its model file."""
    root = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        images(Path("scans/cat"))
        images(Path("scans/dog"))
        works("prep-scans scans prepared --size 16 --quiet")
        works(f"train-gan prepared --out run --size 16 {TRAIN}")
        works("export-onnx run -o m.onnx")
    return root


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """A copy of all that, to work in."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def nothing():
    pass


def deep(*folders):
    def situation():
        for folder in folders:
            images(Path("deep") / folder, 3)

    return situation


def table(text):
    return lambda: Path("t.csv").write_text(text)


def rows(heading, line):
    return table("\n".join([heading, *(line.format(i=i) for i in range(10))]) + "\n")


def one_class():
    shutil.rmtree("scans/dog")
    works("prep-scans scans single --size 16 --quiet")


def small_class():
    images(Path("scans/cow"), 3)
    works("prep-scans scans small --size 16 --quiet")


def scans_are_elsewhere():
    config = json.loads(Path("run/config.json").read_text())
    config["dataset"]["path"] = "gone"
    Path("run/config.json").write_text(json.dumps(config))


def older_run():
    config = json.loads(Path("run/config.json").read_text())
    Path("run/config.json").write_text(json.dumps(config | {"format_version": 2}))


def split():
    images(Path("scans/cat"), 10, 10)
    images(Path("scans/dog"), 10, 10)
    works("prep-scans scans parts --size 16 --split 0.6,0.4 --quiet")


def part_of_a_split_is_gone():
    split()
    Path("parts/test/items.jsonl").unlink()


PREP = "prep-scans scans p --size 16 --quiet"
GEN = "gen-scans --model m.onnx --count 2 --out o"
BALANCE = "gen-scans --model m.onnx --out o --balance"

# The situation, the command that fails, what is taken from its error, and what is typed then.
LITERAL = {
    "subsets of a split": (
        deep("train/cat", "train/dog", "test/cat", "test/dog"), "prep-scans deep p --size 16",
        r"give one of them: (\S+?);", "prep-scans {0} p --size 16"),
    "subsets of a split, deeper": (
        deep("x/train/cat", "x/train/dog", "x/test/cat", "x/test/dog"), "prep-scans deep p --size 16",
        r"give one of them: (\S+?);", "prep-scans {0} p --size 16"),
    "subsets of a split, joined": (
        deep("train/cat", "train/dog", "test/cat", "test/dog"), "prep-scans deep p --size 16",
        r"as classes: (prep-scans .*?--class-level 2)", "{0}"),
    "subsets of a split, insisted": (
        deep("train/cat", "train/dog", "test/cat", "test/dog"), "prep-scans deep p --size 16",
        r"as classes anyway: (prep-scans .*)", "{0}"),
    "subsets of a split, trained": (
        lambda: [images(Path(f"deep/{a}/{b}")) for a in ("train", "test") for b in ("cat", "dog")],
        f"train-gan deep --out r --size 16 {TRAIN}", r"give one of them: (\S+?);",
        f"train-gan {{0}} --out r --size 16 {TRAIN}"),
    "subsets of a split, trained on a dataset": (
        lambda: [images(Path(f"deep/{a}/{b}")) for a in ("train", "test") for b in ("cat", "dog")],
        f"train-gan deep --out r --size 16 {TRAIN}", r"as classes: (prep-scans .*?--class-level 2)",
        ["{0} --size 16", f"train-gan OUT --out r --size 16 {TRAIN}"]),
    "subsets of a split, balanced": (
        deep("train/cat", "train/dog", "test/cat", "test/dog"), f"{BALANCE} deep --target 5",
        r"give one of them: (\S+?);", f"{BALANCE} {{0}} --target 5"),
    "hospitals": (
        deep("A/normal", "A/tumor", "B/normal", "B/tumor"), "prep-scans deep p --size 16",
        r"as classes: (prep-scans .*?--class-level 2)", "{0}"),
    "patients": (
        deep("p 0001", "p 0002", "p 0003"), "prep-scans deep p --size 16",
        r"one class: (prep-scans .*?--class-level 0)", "{0}"),
    "columns of a table": (
        rows("Image,Finding", "cat/{i}.png,a"), "prep-scans scans p --size 16 --labels t.csv",
        r"it has: (\w+, \w+) \(say which to use: --columns",
        "prep-scans scans p --size 16 --labels t.csv --columns '{0}'"),
    "subject in the table and in the path": (
        rows("file,class,subject", "cat/{i}.png,a,s{i}"),
        "prep-scans scans p --size 16 --labels t.csv --subjects cat", r"\((--columns file,class)\)",
        "prep-scans scans p --size 16 --labels t.csv --subjects cat {0}"),
    "table without --labels": (
        rows("Image,Finding", "cat/{i}.png,a"), "prep-scans scans p --size 16 --columns Image,Finding",
        r"(--labels) FILE.csv; add it",
        "prep-scans scans p --size 16 --columns Image,Finding {0} t.csv"),
    "several labels": (
        rows("file,class", "cat/{i}.png,a|b"), "prep-scans scans p --size 16 --labels t.csv",
        r"choose (--multi-label first)", "prep-scans scans p --size 16 --labels t.csv {0}"),
    "several labels, joined": (
        rows("file,class", "cat/{i}.png,a|b"), "prep-scans scans p --size 16 --labels t.csv",
        r"choose (--multi-label) first or (join)", "prep-scans scans p --size 16 --labels t.csv {0} {1}"),
    "a choice": (nothing, f"{PREP} --fit fill", r"it takes (\w+)", f"{PREP} --fit {{0}}"),
    "a range": (nothing, "prep-scans scans p --size 8", r"it takes (\d+)", "prep-scans scans p --size {0}"),
    "no effect": (nothing, f"{PREP} --clip 3", r"(--clip) only has an effect with (--equalize clahe)",
                  f"{PREP} {{0}} 3 {{1}}"),
    "a split": (nothing, f"{PREP} --split 0.5", r"\((0.8,0.2)\)", f"{PREP} --split {{0}}"),
    "a split in three": (lambda: [images(Path(f"scans/{c}"), 30, 10) for c in ("cat", "dog")],
                         f"{PREP} --split 1,2", r"\((0.8,0.1,0.1)\)", f"{PREP} --split {{0}}"),
    "slices": (nothing, f"{PREP} --slices 9", r"\((0.2:0.8)\)", f"{PREP} --slices {{0}}"),
    "a window": (nothing, f"{PREP} --window all", r"it takes (\w+)", f"{PREP} --window {{0}}"),
    "size of a dataset": (
        nothing, f"train-gan prepared --out r --size 32 {TRAIN}", r"use (--size 16)",
        f"train-gan prepared --out r {TRAIN} {{0}}"),
    "size of a dataset, prepared anew": (
        lambda: works("prep-scans scans odd --size 20 --quiet"),
        f"train-gan odd --out r --size 16 {TRAIN}", r"into another folder with (--size 16)",
        ["prep-scans scans other {0}", f"train-gan other --out r {{0}} {TRAIN}"]),
    "one class": (one_class, f"train-gan single --out r --size 16 {TRAIN}", r"use (--arch dcgan)",
                  f"train-gan single --out r --size 16 {TRAIN} {{0}}"),
    "a small class": (small_class, f"train-gan small --out r --size 16 {TRAIN}", r"\((--arch dcgan)\)",
                      f"train-gan small --out r --size 16 {TRAIN} {{0}}"),
    "a small class of its own": (
        small_class, f"train-gan small --out r --size 16 --arch dcgan --per-class {TRAIN}",
        r"\((--no-per-class)\)",
        f"train-gan small --out r --size 16 --arch dcgan --per-class {TRAIN} {{0}}"),
    "a small class of a recipe": (
        small_class, f"train-gan small --out r --size 16 --recipe brain-mri-dcgan {TRAIN}",
        r"\((--no-per-class)\)",
        f"train-gan small --out r --size 16 --recipe brain-mri-dcgan {TRAIN} {{0}}"),
    "a batch": (nothing, f"train-gan prepared --out r --size 16 --batch 6 {TRAIN}", r"try (\d+)",
                f"train-gan prepared --out r --size 16 --batch {{0}} {TRAIN}"),
    "per class": (nothing, f"train-gan prepared --out r --size 16 --per-class {TRAIN}",
                  r"add (--arch dcgan)", f"train-gan prepared --out r --size 16 --per-class {TRAIN} {{0}}"),
    "a recipe": (nothing, f"train-gan prepared --out r --size 16 --recipe stabel {TRAIN}",
                 r"did you mean (\w+)", f"train-gan prepared --out r --size 16 --recipe {{0}} {TRAIN}"),
    "recipes": (nothing, f"train-gan prepared --out r --recipe zzz {TRAIN}",
                r"see (train-gan --list-recipes)", "{0}"),
    "an option": (nothing, f"train-gan prepared --out r --size 16 --set widht=4 {TRAIN}",
                  r"did you mean (\w+)", f"train-gan prepared --out r --size 16 --set {{0}}=4 {TRAIN}"),
    "an assignment": (nothing, f"train-gan prepared --out r --size 16 --set width {TRAIN}",
                      r"example (--set width=64)",
                      f"train-gan prepared --out r --size 16 {TRAIN.replace('--width 4', '{0}')}"),
    "an option without effect": (
        nothing,
        f"train-gan prepared --out r --size 16 --recipe classic-acgan --set lecam=0.1 {TRAIN}",
        r"it needs (loss=hinge); set that",
        f"train-gan prepared --out r --size 16 --recipe classic-acgan --set lecam=0.1 {TRAIN} --set {{0}}"),
    "an option given twice": (
        nothing, f"train-gan prepared --out r --size 16 --set size=32 {TRAIN}",
        r"size is given twice, with different values; (leave one out)",
        f"train-gan prepared --out r --size 16 {TRAIN}"),
    "an older run": (older_run, f"train-gan prepared --out run --size 16 {TRAIN}", r"(--force)",
                     f"train-gan prepared --out run --size 16 {TRAIN} {{0}}"),
    "another configuration": (nothing, f"train-gan prepared --out run --size 16 --seed 1 {TRAIN}",
                              r"with (--force)",
                              f"train-gan prepared --out run --size 16 --seed 1 {TRAIN} {{0}}"),
    "lost items": (lambda: Path("run/items.jsonl").unlink(),
                   f"train-gan prepared --out run --size 16 {TRAIN}", r"into (another) folder",
                   f"train-gan prepared --out {{0}} --size 16 {TRAIN}"),
    "damaged state": (lambda: Path("run/last.pt").write_bytes(b"x"),
                      f"train-gan prepared --out run --size 16 {TRAIN.replace('0.1', '0.2')}",
                      r"with (--force)", f"train-gan prepared --out run --size 16 {TRAIN} {{0}}"),
    "no run": (nothing, "export-onnx 'my run' -o x.onnx", r"(train-gan) SOURCE (--out .*)",
               [f"{{0}} prepared {{1}} --size 16 {TRAIN}", "export-onnx 'my run' -o x.onnx"]),
    "a folder for a model": (lambda: Path("my models").mkdir(), "export-onnx run -o 'my models'",
                             r"name a file: (-o .*)", "export-onnx run {0}"),
    "no name for a model": (nothing, "export-onnx run -o x.bin", r"end in (\.onnx)",
                            "export-onnx run -o x{0}"),
    "scans for int8": (scans_are_elsewhere, "export-onnx run -o x.onnx --precision int8",
                       r"or (--accept-loss)", "export-onnx run -o x.onnx --precision int8 {0}"),
    "raw scans for int8": (nothing, "export-onnx run -o x.onnx --precision int8 --real scans",
                           r"(prep-scans scans OUT)",
                           ["{0} --size 16",
                            "export-onnx run -o x.onnx --precision int8 --accept-loss --real OUT"]),
    "verifying": (nothing, "export-onnx --verify m.onnx", r"(export-onnx --verify) FILE (--against) RUN",
                  "{0} m.onnx {1} run"),
    "a precision": (lambda: Path("m.onnx").rename("my model.onnx"),
                    "gen-scans --model 'my model.onnx' --precision fp16 --out o",
                    r"make it: export-onnx RUN (.*)",
                    ["export-onnx run {0}", "gen-scans --model 'my model.onnx' --precision fp16 --out o"]),
    "a class": (nothing, f"{GEN} --class cow", r"it has: (\d) (\w+)", f"{GEN} --class {{1}}"),
    "no model": (nothing, "gen-scans --model x --out o --count 1", r"bundled models: ([\w-]+)",
                 "gen-scans --model {0} --out o --count 1"),
    "a part": (nothing, f"{GEN} --shard 1", r"(--shard 0/8)", f"{GEN} {{0}}"),
    "a range of parts": (nothing, f"{GEN} --shard 4/4", r"it takes (\d/4)", f"{GEN} --shard {{0}}"),
    "a format": (nothing, f"{GEN} --format gif", r"choose from: (\w+)", f"{GEN} --format {{0}}"),
    "shards": (nothing, f"{GEN} --shard-size 2", r"needs (--format tar)", f"{GEN} --shard-size 2 {{0}}"),
    "another request": (lambda: works(GEN), f"{GEN} --seed 1", r"or (--force)", f"{GEN} --seed 1 {{0}}"),
    "a strip": (nothing, "scangan strip 0 --model m.onnx --out x.png", r"like (0:1)",
                "scangan strip {0} --model m.onnx --out x.png"),
    "name of a strip": (nothing, "scangan strip 0:1 --model m.onnx --out x", r"like (x\.png)",
                        "scangan strip 0:1 --model m.onnx --out {0}"),
    "a strip that is there": (lambda: Path("x.png").touch(),
                              "scangan strip 0:1 --model m.onnx --out x.png", r"or (--force)",
                              "scangan strip 0:1 --model m.onnx --out x.png {0}"),
    "a device": (nothing, f"{GEN} --device tpu", r"it has: .*?(cpu)", f"{GEN} --device {{0}}"),
    "nothing missing": (nothing, f"{BALANCE} scans", r"(--target \d+)", f"{BALANCE} scans {{0}}"),
    "a target alone": (nothing, f"{GEN.replace('--count 2', '')} --target 12",
                       r"needs (--balance)", f"{BALANCE} scans --target 12"),
    "a count beside": (nothing, f"{BALANCE} scans --target 12 --count 3", r"leave out (--count)",
                       f"{BALANCE} scans --target 12"),
    "other classes": (lambda: images(Path("scans/cow")), f"{BALANCE} scans --target 12",
                      r"(--class \w+)", f"{BALANCE} scans --target 12 {{0}}"),
    "a split dataset": (split, f"{BALANCE} parts --target 20", r"one of them: (\S+?),",
                        f"{BALANCE} {{0}} --target 20"),
    "a split dataset, trained": (split, f"train-gan parts --out r --size 16 {TRAIN}",
                                 r"one of them: (\S+?),",
                                 f"train-gan {{0}} --out r --size 16 {TRAIN}"),
    "several parts": (lambda: [works(f"gen-scans --model m.onnx --count 2 --out o{i} --shard {i}/2")
                               for i in (0, 1)],
                      "scangan merge o0 o1", r"(--out) FOLDER", "scangan merge o0 o1 {0} all"),
}  # fmt: skip


@pytest.mark.parametrize("name", LITERAL)
def test_what_an_error_says_to_type_works(name, here):
    situation, command, pattern, follow = LITERAL[name]
    situation()
    says = refused(command)
    if not re.search(pattern, says):  # the reason of a file's refusal is in a line of its own
        says = next(line for line in (Path("p/rejects.jsonl"),) if line.exists()).read_text()
    found = re.search(pattern, says)
    assert found, says
    for line in follow if isinstance(follow, list) else [follow]:
        works(line.format(*found.groups()))


def do_delete_and_prepare_again(says, again):
    folder = re.search(r"delete (\S+?)(;| and|$)", says)[1]
    shutil.rmtree(folder)
    works(again)


def damage(file):
    return lambda: Path(file).write_text("{")


SPLIT = "prep-scans scans parts --size 16 --split 0.6,0.4 --quiet"
AGAIN = "prep-scans scans prepared --size 16 --quiet"
DELETED = {
    "damaged dataset": (damage("prepared/dataset.json"), AGAIN, AGAIN, AGAIN),
    "damaged items, trained": (
        damage("prepared/items.jsonl"), f"train-gan prepared --out r --size 16 {TRAIN}", AGAIN,
        f"train-gan prepared --out r --size 16 {TRAIN}"),
    "damaged items, balanced": (
        damage("prepared/items.jsonl"), f"{BALANCE} prepared --target 12", AGAIN,
        f"{BALANCE} prepared --target 12"),
    "damaged subset of a split": (
        part_of_a_split_is_gone, f"{BALANCE} parts/test --target 20", SPLIT,
        f"{BALANCE} parts/test --target 20"),
    "damaged part, trained": (
        part_of_a_split_is_gone, f"train-gan parts/test --out r --size 16 {TRAIN}", SPLIT,
        f"train-gan parts/test --out r --size 16 {TRAIN}"),
    "missing subset of a split": (
        lambda: [split(), shutil.rmtree("parts/test")], SPLIT, SPLIT, SPLIT),
}  # fmt: skip


@pytest.mark.parametrize("name", DELETED)
def test_what_is_deleted_and_prepared_again_is_whole(name, here):
    situation, command, again, then = DELETED[name]
    situation()
    do_delete_and_prepare_again(refused(command), again)
    works(then)


@pytest.mark.parametrize("change", ["other options", "other scans"])
@pytest.mark.parametrize("way", ["choose another OUT", "delete it"])
def test_a_dataset_that_is_there(change, way, here):
    if change == "other scans":
        images(Path("scans/cat"), 2, 10)
    command = f"prep-scans scans prepared --size {32 if change == 'other options' else 16} --quiet"
    says = refused(command)
    assert change in says and way in says
    if way == "delete it":
        shutil.rmtree("prepared")
        works(command)
    else:
        works(command.replace("prepared", "another"))


CHANGES = {
    "added": lambda: images(Path("scans/cat"), 10, 10),
    "a class": lambda: images(Path("scans/cow")),
    "removed": lambda: Path("scans/cat/0.png").unlink(),
    "changed": lambda: shutil.copy("scans/cat/1.png", "scans/cat/0.png"),
    "added, and the dataset deleted": lambda: [images(Path("scans/cat"), 10, 10),
                                               shutil.rmtree("r/dataset")],
    "nothing but the size": lambda: None,
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("way", ["choose another --out", "--force"])
def test_scans_that_changed_since_a_run_began(change, way, here):
    command = f"train-gan scans --out r --size 16 {TRAIN}"
    works(command)
    CHANGES[change]()
    command = command.replace("--kimg 0.1", "--kimg 0.2")
    if change == "nothing but the size":
        command = command.replace("--size 16", "--size 32")
    says = refused(command)
    assert "choose another --out, or start over with --force" in says and "OUT" not in says
    assert way in says
    works(f"{command} --force" if way == "--force" else command.replace("--out r", "--out r2"))


def test_a_class_folder_to_be_renamed_or_filled(here):
    bad = Path("bad")
    images(bad / "cat")
    images(bad / "a\\b")
    assert "rename it" in refused("prep-scans bad p --size 16")
    (bad / "a\\b").rename(bad / "ab")
    works("prep-scans bad p --size 16")
    Path("empty/cat").mkdir(parents=True)
    assert "put scans into them" in refused("prep-scans empty q --size 16")
    images(Path("empty/cat"))
    works("prep-scans empty q --size 16")


def test_a_copy_to_be_moved_away(here):
    shutil.copytree("scans/cat", "scans/cat - Copy")
    told = re.search(r"move (.+?) away", refused("prep-scans scans p --size 16"))[1]
    (folder,) = shlex.split(told)
    Path(folder).rename("elsewhere")
    works("prep-scans scans p --size 16")


def test_a_folder_to_be_made(here):
    says = refused("export-onnx run -o 'my models/a/m.onnx'")
    make, parents, folder = shlex.split(re.search(r"make it first: (.*)", says)[1])
    assert (make, parents) == ("mkdir", "-p")
    Path(folder).mkdir(parents=True)
    works("export-onnx run -o 'my models/a/m.onnx'")


def test_a_part_to_be_made_again(here):
    for i in (0, 1):
        works(f"gen-scans --model m.onnx --count 2 --out parts --shard {i}/2")
    next(Path("parts/cat").glob("*.png")).unlink()
    part = re.search(r"part (\d/2) again \((--shard)\)", refused("scangan merge parts"))
    works(f"gen-scans --model m.onnx --count 2 --out parts {part[2]} {part[1]}")
    works("scangan merge parts")


def test_a_part_to_be_made(here):
    works("gen-scans --model m.onnx --count 2 --out parts --shard 0/2")
    part = re.search(r"not finished: part (\d)\S*.*with (--shard)", refused("scangan merge parts"))
    works(f"gen-scans --model m.onnx --count 2 --out parts {part[2]} {part[1]}/2")
    works("scangan merge parts")


def test_a_changed_model(here):
    import onnx

    model = onnx.load("m.onnx")
    model.graph.name = "changed"
    Path("m.onnx").write_bytes(model.SerializeToString())
    option = re.search(r"(--allow-modified)", refused(GEN))[1]
    works(f"{GEN} {option}")
