"""The pages for people beside the scans, and where scans may not be written."""

import base64
import json
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
import yaml
from conftest import folder_bytes

from scangan.artifacts.latents import Draw
from scangan.artifacts.request import FORMATS, Part, Request, Span
from scangan.artifacts.scan_folder import Plan
from scangan.core.png import encode_png
from scangan.runtime import GenerationError, ScanGenerator
from scangan.runtime.about import readme, sheet_page
from scangan.runtime.output import make_sheet, write_scans

ODD = ("<b>&amp;", 'a"b|c`d', "ä\n\u202e*e*", "---")


class _Page(HTMLParser):
    """What a browser would load and show."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.words, self.alt = [], [], "", ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]
        self.alt += dict(attrs).get("alt", "")

    def handle_data(self, data):
        self.words += data


def _plan(classes, **options):
    spans = tuple(Span(i, 0, 2) for i in range(len(classes)))
    return Plan.of("ab" * 32, classes, Request(spans=spans, **options))


def _picture(link):
    data = base64.b64decode(link.removeprefix("data:image/png;base64,"), validate=True)
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE), data


def test_the_page_shows_the_sheet_and_needs_no_other_file(tiny_acgan, tmp_path):
    generator = ScanGenerator(tiny_acgan)
    request = Request(spans=(Span(0, 3, 2), Span(2, 3, 9)), draw=Draw(5, 0.7, paired=True))
    write_scans(generator, request, tmp_path / "out")
    page = _Page((tmp_path / "out/sheet.html").read_text(encoding="utf-8"))
    (link,) = page.links
    picture, data = _picture(link)
    assert np.array_equal(picture, make_sheet(generator, Plan.read(tmp_path / "out")))
    assert b"Synthetic" in data  # also where the picture is taken out
    assert "script" not in page.tags and "link" not in page.tags
    for words in ("SYNTHETIC", "None is a scan of a person", generator.sha256, "0.7", "same latents",
                  "2, indexes 3 to 4", "9, indexes 3 to 11"):  # fmt: skip
        assert words in page.words
    assert page.alt == "The first synthetic scans, a row each of cat, 2"


def test_names_of_classes_are_only_words():
    plan = _plan(ODD)
    page = _Page(sheet_page(plan, b"").decode())
    assert {"b", "e"} - set(page.tags) == {"e"} and page.tags.count("b") == 1  # our own
    assert "class <b>&amp;" in page.words and "\u202e" not in page.words
    text = readme(plan).decode()
    rows = [line for line in text.splitlines() if line.startswith("| class ")]
    assert len(rows) == len(ODD)
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 3 for row in rows)
    assert r"\<b\>\&amp;" in text and r"\*e\*" in text and "\u202e" not in text


@pytest.mark.parametrize("kind", FORMATS)
def test_the_head_of_the_readme_names_the_files_of_the_scans(tiny_acgan, tmp_path, kind):
    request = Request(spans=(Span(0, 0, 3),), format=kind, shard_size=2)
    write_scans(ScanGenerator(tiny_acgan), request, tmp_path / "out")
    text = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    (config,) = yaml.safe_load(text.split("---\n")[1])["configs"]
    lines = (tmp_path / "out/manifest.jsonl").read_text().splitlines()
    named = {json.loads(line)["file"] for line in lines}
    found = {p.relative_to(tmp_path / "out") for p in (tmp_path / "out").glob(config["data_files"])}
    assert {path.as_posix() for path in found} == named


def test_one_and_no_class():
    request = Request(spans=(Span(None, 7, 1),))
    page = _Page(sheet_page(Plan.of("ab" * 32, (), request), b"").decode())
    assert page.alt == "The first synthetic scans" and "SYNTHETIC 1 scan\n" in page.words
    assert "1, index 7" in page.words


@pytest.mark.parametrize("inner", ["more", "cat/more", "a/b/c"])
def test_no_folder_of_scans_in_another(tiny_acgan, tmp_path, inner):
    generator, request = ScanGenerator(tiny_acgan), Request(spans=(Span(0, 0, 2),))
    out = tmp_path / "out"
    write_scans(generator, request, out)
    before = folder_bytes(out)
    with pytest.raises(GenerationError, match=r"is inside .*out, a folder of scans"):
        write_scans(generator, request, out / inner)
    with pytest.raises(GenerationError, match="is inside"):
        write_scans(generator, request, tmp_path / "x/../out" / inner, part=Part(0, 2))
    assert folder_bytes(out) == before and not (out / "more").exists()


def test_a_request_of_somebody_else_is_in_nobodys_way(tiny_acgan, tmp_path):
    (tmp_path / "request.json").write_text('{"mine": 1}')
    write_scans(ScanGenerator(tiny_acgan), Request(spans=(Span(0, 0, 2),)), tmp_path / "out")


def test_no_strip_among_scans(command, tiny_acgan, tmp_path):
    base = ["generate", "--model", tiny_acgan, "--count", 2]
    command(*base, "--out", tmp_path / "out")
    before = folder_bytes(tmp_path / "out")
    for argv, folder in (
        ([], tmp_path / "out"), ([], tmp_path / "out/cat"), (["--out", "out/cat/x.png"], tmp_path),
        (["--force", "--out", "out/cat/000000001.png"], tmp_path),
    ):  # fmt: skip
        done = command("strip", "0:3", "--model", tiny_acgan, *argv, cwd=folder)
        assert done.returncode == 1 and "would be read as one of its" in done.stderr
        assert done.stderr.count("\n") == 1
    assert folder_bytes(tmp_path / "out") == before


def test_nothing_is_written_into_the_dataset_that_it_tops_up(command, tiny_acgan, tmp_path):
    for name, count in (("cat", 5), ("dog", 2), ("2", 1)):
        (tmp_path / "scans" / name).mkdir(parents=True)
        for i in range(count):
            scan = encode_png(np.arange(64, dtype=np.uint8).reshape(8, 8) + i)
            (tmp_path / "scans" / name / f"{i}.png").write_bytes(scan)
    before = folder_bytes(tmp_path)
    base = ["generate", "--model", tiny_acgan, "--balance"]
    for argv, folder in (
        (["."], tmp_path / "scans"), ([tmp_path / "scans", "--out", "scans/more"], tmp_path),
        (["scans", "--out", "scans/dog"], tmp_path), (["scans", "--out", "scans"], tmp_path),
    ):  # fmt: skip
        done = command(*base, *argv, cwd=folder)
        assert done.returncode == 2 and "choose another --out" in done.stderr
    assert folder_bytes(tmp_path) == before
    assert command(*base, "scans", "--out", "more", cwd=tmp_path).returncode == 0
