"""A set without its suspects is the same set, but for them."""

import json
import re
import tarfile

import numpy as np
import pytest
from conftest import folder_bytes

from scangan.artifacts.latents import Draw
from scangan.artifacts.request import FORMATS, Part, Request, Span
from scangan.artifacts.scan_folder import Plan
from scangan.core.png import encode_png
from scangan.core.sheet import contact_sheet
from scangan.runtime import GenerationError, ScanGenerator
from scangan.runtime.exclude import without_suspects
from scangan.runtime.merge import merge
from scangan.runtime.output import make_sheet, write_scans

SPANS = Span(0, 5, 13), Span(2, 5, 8)
OUT = {0: (5, 9, 10, 17), 2: (8,)}  # the first, two in a row, the last; of another class
NAMES = {0: "cat", 2: "2"}


@pytest.fixture(scope="module")
def generator(tiny_acgan):
    return ScanGenerator(tiny_acgan, batch=4)


def line(generator, name, index, seed=4, **more):
    """A suspect, as a line of suspects.jsonl."""
    origin = {"synthetic": True, "model": generator.sha256, "seed": seed, "index": index}
    return json.dumps(
        {
            "synthetic": f"{name}/{index}", "class": name, "index": 99, "train": "patient.png",
            "train_index": 3, "similarity": 0.9, "distance": 1.5,
            "origin": origin | {"class": name} | more,
        }
    ) + "\n"  # fmt: skip


@pytest.fixture
def suspects(generator, tmp_path):
    """Those of `OUT`, and some that no request here has."""
    lines = [line(generator, NAMES[k], i) for k, indices in OUT.items() for i in reversed(indices)]
    lines += [line(generator, "cat", 18), line(generator, "cat", 4), line(generator, "dog", 6)]
    (tmp_path / "suspects.jsonl").write_text("".join(lines))
    return tmp_path / "suspects.jsonl"


def request_for(kind, *, without=()):
    spans = tuple(span.without(without[span.number]) if without else span for span in SPANS)
    return Request(spans=spans, draw=Draw(4), format=kind, shard_size=4)


def lines_of(file):
    return [json.loads(one) for one in file.read_text().splitlines()]


def scans_in(out, kind):
    """What stands for each scan in a folder, by class and index."""
    scans = {}
    for told in lines_of(out / "manifest.jsonl"):
        file = out / told["file"]
        if kind == "tar":
            with tarfile.open(file) as shard:
                content = shard.extractfile(told["member"]).read()
        elif kind == "npz":
            with np.load(file) as shard:
                assert shard["indices"][told["row"]] == told["index"]
                assert shard["labels"][told["row"]] == {"cat": 0, "2": 2}[told["class"]]
                content = shard["images"][told["row"]].tobytes()
        else:
            content = file.read_bytes()
        assert (told["class"], told["index"]) not in scans
        scans[told["class"], told["index"]] = content
    return scans


@pytest.mark.parametrize("kind", FORMATS)
def test_the_others_are_the_same_in_every_format(generator, suspects, tmp_path, kind):
    said = []
    request = without_suspects(request_for(kind), generator.file, suspects, said.append)
    assert {span.number: span.left_out for span in request.spans} == OUT
    assert said == [f"5 suspects left out (3 more are not in this request): {suspects}"]
    assert write_scans(generator, request_for(kind), tmp_path / "whole") == 21
    assert write_scans(generator, request, tmp_path / "out") == request.total == 16
    whole, out = scans_in(tmp_path / "whole", kind), scans_in(tmp_path / "out", kind)
    lost = {(NAMES[k], i) for k, indices in OUT.items() for i in indices}
    assert out == {scan: content for scan, content in whole.items() if scan not in lost}
    files = {file for file in folder_bytes(tmp_path / "out") if file.endswith(_endings(kind))}
    assert files == {told["file"] for told in lines_of(tmp_path / "out/manifest.jsonl")}


def _endings(kind):
    return {"dicom": ".dcm"}.get(kind, f".{kind}")


@pytest.mark.parametrize("kind", FORMATS)
def test_parts_interruptions_and_force_end_with_the_same_bytes(generator, tmp_path, kind):
    request = request_for(kind, without=OUT)
    write_scans(generator, request, tmp_path / "whole")
    whole = folder_bytes(tmp_path / "whole")
    for i in (2, 0, 1):
        write_scans(generator, request, tmp_path / "parts", part=Part(i, 3))
    merge([tmp_path / "parts"], tmp_path / "parts")
    assert folder_bytes(tmp_path / "parts") == whole
    # As after an end in the middle of the work.
    for file in [file for file in whole if file.endswith(_endings(kind))][::2]:
        (tmp_path / "parts" / file).unlink()
    (tmp_path / "parts/manifest.jsonl").unlink()
    write_scans(generator, request, tmp_path / "parts")
    assert folder_bytes(tmp_path / "parts") == whole
    # In place of the scans that had the suspects among them.
    write_scans(generator, request_for(kind), tmp_path / "forced")
    with pytest.raises(GenerationError, match=r"13 from 5 of cat, .* \(4 left out\).*--force"):
        write_scans(generator, request, tmp_path / "forced")
    write_scans(generator, request, tmp_path / "forced", force=True)
    assert folder_bytes(tmp_path / "forced") == whole


def test_as_many_others_are_another_request(generator, tmp_path):
    write_scans(generator, request_for("png", without=OUT), tmp_path / "out")
    others = request_for("png", without=OUT | {2: (9,)})
    with pytest.raises(
        GenerationError, match=r"another request .the same number .* but not the same"
    ):
        write_scans(generator, others, tmp_path / "out")


def test_the_pages_show_and_count_what_is_there(generator, tmp_path):
    request = request_for("png", without=OUT)
    shown = {0: [6, 7, 8, 11, 12, 13, 14, 15], 2: [5, 6, 7, 9, 10, 11, 12]}
    rows = [
        (NAMES[k], np.concatenate([generator.sample(1, k, 4, i) for i in indices]))
        for k, indices in shown.items()
    ]
    plan = Plan.of(generator.sha256, generator.classes, request)
    expected = encode_png(contact_sheet(rows, "synthetic scans, seed 4"))
    assert encode_png(make_sheet(generator, plan)) == expected
    write_scans(generator, request, tmp_path / "out")
    assert "16 scans" in (tmp_path / "out/sheet.html").read_text()
    readme = (tmp_path / "out/README.md").read_text()
    assert "9, indexes 5 to 17 without 4 that were left out" in readme


def test_paired_scans_and_truncated_ones(generator, tmp_path):
    file = tmp_path / "suspects.jsonl"
    request = Request(spans=SPANS, draw=Draw(4, 0.7, paired=True))
    file.write_text(line(generator, "cat", 6, truncation=0.7, paired=True))
    kept = without_suspects(request, generator.file, file)
    assert [span.left_out for span in kept.spans] == [(6,), ()]
    # Those drawn in another way are skipped among others, and refused alone.
    file.write_text(file.read_text() + line(generator, "cat", 7))
    assert without_suspects(request, generator.file, file) == kept
    file.write_text(line(generator, "cat", 7))
    with pytest.raises(GenerationError, match=r"--truncation 1\.0 and no --paired, and this"):
        without_suspects(request, generator.file, file)


def test_a_stream_leaves_them_out(generator, suspects):
    def scans(**more):
        return [
            (i, name, image.tobytes()) for i, name, image in generator.stream(14, seed=4, **more)
        ]

    lost = {("cat", 5), ("cat", 9), ("cat", 10), ("cat", 4), ("2", 8), ("dog", 6)}
    assert scans(exclude=suspects) == [scan for scan in scans() if (scan[1], scan[0]) not in lost]
    assert len(scans(exclude=str(suspects), label="2")) == 13
    with pytest.raises(GenerationError, match="--seed 4, and this request has --seed 5"):
        generator.stream(14, seed=5, exclude=suspects)


def test_a_stream_leaves_out_what_several_files_list(generator, suspects, tmp_path):
    more = tmp_path / "more.jsonl"
    more.write_text(line(generator, "cat", 6) + line(generator, "cat", 9))
    both = list(generator.stream(14, "cat", 4, exclude=(suspects, more)))
    assert [i for i, *_ in both] == [
        i for i, *_ in generator.stream(14, "cat", 4, exclude=suspects) if i not in (6, 9)
    ]
    assert len(both) == 9


def test_a_second_file_leaves_out_more_and_brings_none_back(
    generate, generator, suspects, tmp_path
):
    more = tmp_path / "more.jsonl"
    more.write_text(line(generator, "cat", 6) + line(generator, "cat", 9))
    done = generate("--class", "cat", "--count", 14, "--out", "o", "--exclude", more, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["left_out"] == 5  # 4, 5, 9 and 10, and 6; 9 is in both
    made = {int(path.stem) for path in (tmp_path / "o/cat").iterdir()}
    assert made == {*range(14)} - {4, 5, 6, 9, 10}


def test_a_model_without_classes(tiny_dcgan, tmp_path):
    generator = ScanGenerator(tiny_dcgan)
    file = tmp_path / "suspects.jsonl"
    file.write_text(line(generator, None, 2))
    request = without_suspects(
        Request(spans=(Span(None, 0, 4),), draw=Draw(4)), generator.file, file
    )
    assert write_scans(generator, request, tmp_path / "out") == 3
    assert sorted(p.name for p in (tmp_path / "out/scan").iterdir()) == [
        "000000000.png", "000000001.png", "000000003.png"]  # fmt: skip


@pytest.fixture
def generate(command, tiny_acgan, tmp_path):
    """Run gen-scans with a file to exclude."""

    def run(*args, exclude=tmp_path / "suspects.jsonl", seed=4):
        return command("generate", "--model", tiny_acgan, "--seed", seed, *args,
                       "--exclude", exclude, cwd=tmp_path)  # fmt: skip

    return run


def test_the_command_says_how_many(generate, suspects, tmp_path):
    done = generate("--class", "cat", "--class", "2", "--start", 5, "--count", 13)
    assert done.returncode == 0, done.stderr
    assert f"5 suspects left out (3 more are not in this request): {suspects}" in done.stdout
    assert "21 synthetic scans (9 cat, 12 2): tiny-cat+2-seed4-n13-from5-without5" in done.stdout
    done = generate("--class", "cat", "--count", 20, "--json", "--out", "told")
    told = json.loads(done.stdout)
    assert (told["scans"], told["classes"], told["left_out"]) == (14, {"cat": 14}, 6)


def test_a_class_that_is_topped_up_stays_short_of_them(generate, suspects, tmp_path):
    for name, count in {"cat": 2, "dog": 12, "2": 12}.items():
        (tmp_path / "scans" / name).mkdir(parents=True)
        for i in range(count):
            (tmp_path / "scans" / name / f"{i}.png").write_bytes(
                encode_png(np.full((8, 8), len(name) * 20 + i, np.uint8))
            )
    done = generate("--balance", "scans", "--out", "more")
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / "more/cat").iterdir()}
    assert names == {f"{i:09d}.png" for i in range(10) if i not in (4, 5, 9)}


@pytest.mark.parametrize("content", [b"", b"\n"], ids=["empty", "empty line"])
def test_no_suspects(generate, command, tiny_acgan, tmp_path, content):
    (tmp_path / "suspects.jsonl").write_bytes(content)
    done = generate("--count", 2, "--out", "with")
    if content:
        assert done.returncode == 1 and done.stderr.count("\n") == 1
        return
    assert done.returncode == 0 and "0 suspects left out" in done.stdout
    command(
        "generate", "--model", tiny_acgan, "--seed", 4, "--count", 2, "--out", tmp_path / "none"
    )
    assert folder_bytes(tmp_path / "with") == folder_bytes(tmp_path / "none")


BAD = {
    "not JSON": "no JSON at all\n",
    "a table": "file,class\na.png,cat\n",
    "another value": "[1, 2]\n",
    "cut off": '{"synthetic": "cat/1", "cla',
    "a field is missing": '{"synthetic": "cat/1", "class": "cat"}\n',
    "a field of another type": "TYPE",
    "a manifest": '{"file": "cat/0.png", "synthetic": true, "model": "ab", "seed": 4, "index": 0}\n',
    "not UTF-8": "\udcff\udcfe\n",
    "nested": "[" * 100_000,
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_a_file_that_is_not_a_list_of_suspects(generate, generator, tmp_path, kind):
    good = line(generator, "cat", 1)
    bad = good.replace('"index": 1', '"index": "one"') if BAD[kind] == "TYPE" else BAD[kind]
    (tmp_path / "suspects.jsonl").write_bytes((good + bad).encode(errors="surrogateescape"))
    done = generate("--out", "out")
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert f"{tmp_path / 'suspects.jsonl'} is not a list of suspects (line 2: " in done.stderr
    assert "; give the suspects.jsonl that eval-scans privacy wrote" in done.stderr
    assert not (tmp_path / "out").exists()


def refusals(generator):
    """Lists that are refused: what they hold, and what is said."""
    cat = line(generator, "cat", 1)
    return {
        "of another model": (cat.replace(generator.sha256, "ab" * 32), "another model file .sha256 abab"),
        "of a model that no terminal can show": (
            cat.replace(generator.sha256, "\\ud800" * 20), r"another model file .sha256 \\ud800"
        ),
        "of another seed": (line(generator, "cat", 1, seed=1), "--seed 1, and this request has --seed 4"),
        "of no known model": (cat.replace(cat[cat.index('"origin"') : -2], '"origin": null'), "does not say"),
        "of an older version": (cat.replace(cat[cat.index(', "origin"') : -2], ""), "does not say"),
        "of no class": (line(generator, "cow", 1), "no class 'cow'"),
        "of classes that have no name": (line(generator, None, 1), "no class None"),
        "below 0": (line(generator, "cat", -1), "index -1"),
        "too large": (line(generator, "cat", 2**63), f"index {2**63}"),
        "all": ("".join(line(generator, "cat", i) for i in range(2)), "all 2 scans of cat in this request"),
    }  # fmt: skip


@pytest.mark.parametrize("kind", refusals(type("Model", (), {"sha256": ""})))
def test_a_list_that_cannot_be_followed(generate, generator, tmp_path, kind):
    content, says = refusals(generator)[kind]
    (tmp_path / "suspects.jsonl").write_text(content)
    done = generate("--count", 2, "--out", "out")
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert str(tmp_path / "suspects.jsonl") in done.stderr
    assert re.search(says, done.stderr), done.stderr
    assert not (tmp_path / "out").exists()
