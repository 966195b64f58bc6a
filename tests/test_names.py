"""A class has one name, however the system, the table, an older file or the user writes it."""

import dataclasses
import hashlib
import json
import subprocess
import unicodedata
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from few_scores import score_few

from scangan.core.errors import PreprocessingError
from scangan.core.printable import to_type

NAMES = ["tumeur bénigne", "Ångström", "Spätbefund", "정상", "khối u lành", "niño", "ή"]
OLD = [unicodedata.normalize("NFD", name) for name in NAMES]
ONE, TWO = NAMES[0], NAMES[3]


def scans(root, *names, count=10, first=0):
    for k, name in enumerate(names):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(first, first + count):
            pixels = np.random.default_rng([k, i]).integers(0, 255, (24, 24), np.uint8)
            (root / name / f"{i}.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return root


def prepared(source, out, **options):
    from scangan.preprocessing import PrepOptions, SourceOptions, prepare

    return prepare(source, out, PrepOptions(size=16), sources=SourceOptions(**options))


@pytest.fixture
def as_before(monkeypatch):
    """What an earlier version did: names are kept as they are on disk."""

    def call(work):
        with monkeypatch.context() as patch:
            patch.setattr("scangan.core.class_folders.normal", lambda name: name)
            read = lambda kind, line: msgspec.json.decode(line, type=kind)  # noqa: E731
            patch.setattr("scangan.preprocessing.journal.parse_record", read)
            return work()

    return call


def decomposed(folder):
    """Names of an artefact that are not in their one form."""
    texts = [p.read_text(encoding="utf-8") for p in folder.rglob("*.json*")]
    values = [json.loads(line) for text in texts for line in _json_texts(text)]
    written = json.dumps([_without_files(value) for value in values], ensure_ascii=False)
    return written != unicodedata.normalize("NFC", written)


def _json_texts(text):
    try:
        json.loads(text)
    except ValueError:
        return text.splitlines()
    return [text]


def _without_files(value):
    if isinstance(value, dict):
        return {k: _without_files(v) for k, v in value.items() if k not in ("file", "files")}
    return [_without_files(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("name", "old"), list(zip(NAMES, OLD)))
def test_folders_of_a_mac(name, old, tmp_path):
    dataset = prepared(scans(tmp_path / "in", old, "other"), tmp_path / "out")
    assert set(dataset.classes) == {name, "other"}
    assert dataset.counts[name] == 10
    items = [item for item in dataset.items if item.class_name == name]
    assert all((tmp_path / "in" / item.file).is_file() for item in items)  # as on disk
    assert not decomposed(tmp_path / "out")


def test_two_folders_of_one_name_are_one_class(tmp_path):
    scans(tmp_path / "in", NAMES[0], TWO)
    scans(tmp_path / "in", OLD[0], first=10)
    if len(list((tmp_path / "in").iterdir())) < 3:
        pytest.skip("this file system writes names in one form")
    dataset = prepared(tmp_path / "in", tmp_path / "out")
    assert dataset.counts == {ONE: 20, TWO: 10}


def test_a_flat_folder_is_named_so_too(tmp_path):
    scans(tmp_path, OLD[0])
    assert prepared(tmp_path / OLD[0], tmp_path / "out").classes == (ONE,)


def test_a_table_in_either_form_is_read_with_what_is_typed_in_the_other(tmp_path):
    scans(tmp_path / "in", OLD[5])
    table = tmp_path / "labels.csv"
    rows = [
        f"{(OLD if i % 2 else NAMES)[5]}/{i}.png,{(OLD if i % 3 else NAMES)[0]}" for i in range(10)
    ]
    table.write_text("\n".join([f"fichier,{OLD[2]}", *rows]), encoding="utf-8")
    dataset = prepared(
        tmp_path / "in", tmp_path / "out", labels=table, columns=f"fichier,{NAMES[2]}"
    )
    assert dataset.counts == {ONE: 10}


def test_subjects_are_found_by_a_pattern_in_either_form(tmp_path):
    scans(tmp_path / "in", "a")
    for i, file in enumerate((tmp_path / "in/a").iterdir()):
        file.rename(file.with_name(f"{(OLD if i % 2 else NAMES)[5]}_{i // 2}_{i % 2}.png"))
    for pattern in (f"{NAMES[5]}_\\d", f"{OLD[5]}_\\d"):
        dataset = prepared(tmp_path / "in", tmp_path / pattern[:-1], subjects=pattern)
        assert {item.subject for item in dataset.items} == {f"{NAMES[5]}_{n}" for n in range(5)}


def test_a_dataset_of_an_earlier_version_is_read_and_recognised(as_before, tmp_path):
    from scangan.preprocessing import load_dataset
    from scangan.runtime.balance import class_counts

    source = scans(tmp_path / "in", OLD[0], OLD[3])
    as_before(lambda: prepared(source, tmp_path / "out"))
    told = json.loads((tmp_path / "out/dataset.json").read_text(encoding="utf-8"))
    assert set(told["classes"]) == {OLD[0], OLD[3]}
    dataset = load_dataset(tmp_path / "out")
    assert dataset.counts == {ONE: 10, TWO: 10}
    assert {item.class_name for item in dataset.items} == {ONE, TWO}
    assert class_counts(tmp_path / "out") == class_counts(source) == dataset.counts
    assert prepared(source, tmp_path / "out").fingerprint == told["fingerprint"]  # left alone


def test_a_run_of_an_earlier_version_goes_on_and_is_exported(as_before, tmp_path, monkeypatch):
    from scangan.artifacts.train_options import TrainOptions
    from scangan.export import export_run
    from scangan.runtime import ScanGenerator
    from scangan.training.train_gan import train

    score_few(monkeypatch.setattr)
    source = scans(tmp_path / "in", OLD[0], OLD[3])
    options = TrainOptions(size=16, kimg=0.1, width=4, latent=8)
    dataset = as_before(lambda: prepared(source, tmp_path / "out"))
    run = train(dataset.path, tmp_path / "run", options, device="cpu")
    for file in (run.path / "config.json", run.path / "metrics.jsonl", run.path / "items.jsonl"):
        lines = [json.loads(line) for line in _json_texts(file.read_text(encoding="utf-8"))]
        text = "\n".join(
            unicodedata.normalize("NFD", json.dumps(line, ensure_ascii=False)) for line in lines
        )
        file.write_text(text + "\n", encoding="utf-8")
    assert set(run.classes) == {ONE, TWO}
    train(dataset.path, tmp_path / "run", dataclasses.replace(options, kimg=0.2), device="cpu")
    export_run(run.path, tmp_path / "m.onnx")
    assert set(ScanGenerator(tmp_path / "m.onnx").classes) == {ONE, TWO}


def old_model(path, tiny):
    """A model file as an earlier version wrote it, with the names of a Mac."""
    import onnx

    model = onnx.load(tiny)
    entry = next(each for each in model.metadata_props if each.key == "scangan")
    fields = json.loads(entry.value)
    del fields["card_sha256"]
    fields["classes"] = [OLD[0], "dog", OLD[3]]
    fields["dataset_counts"] = {OLD[0]: 5, "dog": 2, OLD[3]: 1}
    fields["scores"] = {"variety": {OLD[0]: 0.5}}
    text = json.dumps(fields, ensure_ascii=False, sort_keys=True)
    seal = hashlib.sha256(text.encode()).hexdigest()
    entry.value = json.dumps(fields | {"card_sha256": seal}, ensure_ascii=False, sort_keys=True)
    path.write_bytes(model.SerializeToString())
    return path


def test_a_model_file_of_an_earlier_version_still_runs(tiny_acgan, tmp_path):
    from scangan.runtime import ScanGenerator
    from scangan.runtime.interpolate import read_ends

    generator = ScanGenerator(old_model(tmp_path / "old.onnx", tiny_acgan))
    assert generator.classes == (ONE, "dog", TWO)
    assert generator.card.dataset_counts == {ONE: 5, "dog": 2, TWO: 1}
    assert generator.card.scores == {"variety": {ONE: 0.5}}
    for typed in (ONE, OLD[0], OLD[0].upper(), OLD[0][:10]):
        assert generator.card.class_number(typed) == 0
    assert read_ends(f"{OLD[0]}:{TWO}", generator.classes) == (ONE, TWO)
    same = ScanGenerator(tiny_acgan).sample(2, label="cat")
    assert (generator.sample(2, label=OLD[0]) == same).all()


@pytest.mark.parametrize("typed", [ONE, OLD[0]])
def test_the_command_takes_and_writes_one_form(typed, command, tiny_acgan, tmp_path):
    model = old_model(tmp_path / "old.onnx", tiny_acgan)
    out = tmp_path / "out"
    done = command("generate", "--model", model, "--class", typed, "--count", 2, "--out", out)
    assert done.returncode == 0, done.stderr
    assert [folder.name for folder in out.iterdir() if folder.is_dir()] == [ONE]
    assert not decomposed(out)


def test_balance_compares_one_form(tiny_acgan, tmp_path):
    from scangan.runtime import ScanGenerator
    from scangan.runtime.balance import missing

    scans(tmp_path / "in", OLD[0], NAMES[3], count=3)
    scans(tmp_path / "in", "dog", count=1)
    classes = ScanGenerator(old_model(tmp_path / "old.onnx", tiny_acgan)).classes
    assert missing(tmp_path / "in", classes, [], None) == {1: 2}


def test_a_card_and_folders_made_from_either_form_are_the_same():
    from scangan.artifacts.scan_folder import folder_names
    from scangan.runtime import ModelCard

    cards = [
        ModelCard(architecture="acgan", latent=8, classes=tuple(names), size=32, graph_sha256="")
        for names in (NAMES, OLD)
    ]
    assert cards[0] == cards[1] and cards[0].to_json() == cards[1].to_json()
    assert ModelCard.from_json(cards[1].to_json()) == cards[0]
    assert folder_names(tuple(NAMES)) == folder_names(tuple(OLD))
    assert Path(folder_names(tuple(OLD))[1]).name == NAMES[1]
    both = dataclasses.replace(cards[0], classes=(ONE, OLD[0]))  # trained as two: they stay apart
    assert both.classes == (ONE, OLD[0]) and both.class_number(OLD[0]) == 1


ALIKE = [
    ("cat", "cat "), ("no tumor", "no  tumor"), ("no tumor", "no\u00a0tumor"), ("cat", "cat\u034f"),
    ("dog", "do\u200bg"), ("fibrosis", "\ufb01brosis"), ("Tumor", "tumor"), ("2", "\uff12"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "two"), ALIKE)
def test_two_names_that_look_the_same_are_refused_and_told_apart(one, two, tmp_path):
    scans(tmp_path / "in", one, two, count=1)
    with pytest.raises(PreprocessingError) as refused:
        prepared(tmp_path / "in", tmp_path / "out")
    assert ascii(one) in str(refused.value) and ascii(two) in str(refused.value)
    assert ("some file systems" in str(refused.value)) == (one.lower() == two.lower())
    assert not (tmp_path / "out").exists()


def test_what_only_resembles_stays_apart(tmp_path):
    scans(tmp_path / "in", "T2", "T\u00b2", "stage 1", "stage \u2081", count=1)
    assert len(prepared(tmp_path / "in", tmp_path / "out").classes) == 4


@pytest.mark.parametrize(("typed", "name"), ALIKE)
def test_a_class_is_found_by_what_one_sees(typed, name):
    from scangan.runtime import ModelCard

    card = ModelCard(
        architecture="acgan", latent=8, classes=("other", name), size=32, graph_sha256=""
    )
    assert card.class_number(typed) == 1


@pytest.mark.parametrize("folder", ["no\u00a0tumor", "it's", "-scans", "\u202eright", "a b"])
def test_a_path_in_advice_can_be_typed(folder, tmp_path):
    told = to_type(Path(folder))
    assert told.isprintable()
    line = f"printf %s {told}"
    said = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout
    assert Path(said) == Path(folder) and said.startswith("./") == folder.startswith("-")
