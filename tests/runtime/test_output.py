"""Names on disk, and the order that scans stand in."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scangan.artifacts.latents import Draw
from scangan.artifacts.records import to_told
from scangan.artifacts.request import FORMATS, Part, Request, Span
from scangan.artifacts.scan_folder import Plan, folder_names, is_ours
from scangan.runtime import GenerationError


def _folders(*classes):
    return folder_names(classes)


def test_folders_are_the_classes_names():
    assert _folders("glioma", "no tumour (ä)") == ["glioma", "no tumour (ä)"]


def test_no_class_can_leave_the_folder_or_meet_another(tmp_path):
    names = ("../up", "a/b", "a_b", "a_b_1", "A_B_2", "Dog", "dog", "..", "", "_7", "request.json",
             "sheet.png", "Sheet.HTML", "readme.md", "scans-000001.tar",
             "Ä" * 200, "Ä" * 201, "nul", "é", "e\u0301")  # fmt: skip
    folders = _folders(*names)
    assert len({f.lower() for f in folders}) == len(names)
    assert all("/" not in f and f.strip(".") and not is_ours(f) for f in folders)
    assert all(len(f.encode()) <= 210 for f in folders)
    spans = tuple(Span(i, 0, 1) for i in range(len(names)))
    plan = Plan.of("ab" * 32, names, Request(spans=spans))
    plan.write(tmp_path)
    assert Plan.read(tmp_path).folders == tuple(folders)


def test_no_reader_skips_a_folder_or_takes_it_for_a_scan():
    assert _folders("__MACOSX__", "x.png", "a.NII.gz", "_a", "v1.5") == [
        *("MACOSX_0", "x_1", "a_2", "_a", "v1.5")
    ]


@given(st.lists(st.text(max_size=5), unique=True, max_size=8))
def test_no_two_classes_share_a_folder(names):
    folders = _folders(*names)
    assert len({folder.lower() for folder in folders}) == len(names)


counts_and_left_out = st.integers(1, 40).flatmap(
    lambda count: st.tuples(
        st.just(count), st.sets(st.integers(0, count - 1), max_size=min(count - 1, 6))
    )
)
requests = st.builds(
    Request,
    spans=st.lists(counts_and_left_out, min_size=1, max_size=4).map(
        lambda each: tuple(
            Span(i, 3 * i, count).without(3 * i + k for k in out)
            for i, (count, out) in enumerate(each)
        )
    ),
    format=st.sampled_from(FORMATS),
    shard_size=st.integers(1, 17),
)


def _scans(request):
    """Class number and index of every scan to make, in order."""
    return [(s.number, i) for s in request.spans for i in s.indices if i not in set(s.left_out)]


@given(requests, st.integers(1, 9))
def test_parts_are_the_whole_and_cut_no_file(request, n):
    positions = [request.positions(Part(i, n)) for i in range(n)]
    assert [a for a, _ in positions] == [0, *(b for _, b in positions[:-1])]
    assert positions[-1][1] == request.total == len(_scans(request))
    assert all(a % request.unit == 0 or a == request.total for a, _ in positions)


@given(requests, st.integers(1, 9), st.data())
def test_spans_between_positions_are_all_and_in_order(request, most, data):
    first = data.draw(st.integers(0, request.total))
    last = data.draw(st.integers(first, request.total))
    scans = _scans(request)
    found = list(request.between(first, last, most))
    assert [(s.number, i) for s in found for i in s.indices] == scans[first:last]
    assert all(1 <= span.count <= most for span in found)


@given(requests, st.integers(1, 5))
def test_a_manifest_names_every_scan_and_file_once(request, n):
    plan = Plan.of("ab" * 32, ("a", 'b"', "ä", "d"), request)
    lines = [
        json.loads(line) for i in range(n) for line in plan.manifest(*request.positions(Part(i, n)))
    ]
    assert lines == [json.loads(line) for line in plan.manifest(0, request.total)]
    told = [(line["class"], line["index"]) for line in lines]
    names = dict(enumerate(plan.names))
    assert told == [(names[number], i) for number, i in _scans(request)]
    places = [(line["file"], line.get("member"), line.get("row")) for line in lines]
    assert len(set(places)) == len(places)
    assert set(plan.files(0, request.total)) == {line["file"] for line in lines}
    first = {}
    for at, line in enumerate(lines):
        first.setdefault(line["file"], at)
    assert {file: plan.position_of(file) for file in first} == first
    assert plan.position_of("notes.txt") is plan.position_of("a/notes.png") is None
    if not plan.sharded:
        out = [(which, i) for which, s in enumerate(request.spans) for i in s.left_out]
        assert all(plan.position_of(plan.file_name(*scan)) is None for scan in out)
    assert all(is_ours(name.split("/")[-1]) for name in plan.files(0, request.total))


@pytest.mark.parametrize("numbers", [(), (None,), (9,), (-1,), (0, 0)])
def test_a_request_for_other_classes_than_there_are(numbers):
    request = Request(spans=tuple(Span(number, 0, 1) for number in numbers))
    with pytest.raises(GenerationError, match="each class once"):
        Plan.of("ab" * 32, ("a", "b"), request)


@given(requests, st.floats(0.1, 2.0), st.booleans())
def test_a_plan_survives_its_file(tmp_path_factory, request, psi, paired):
    folder = tmp_path_factory.mktemp("plan")
    request = Request(
        spans=request.spans,
        draw=Draw(7, psi, paired),
        format=request.format,
        shard_size=request.shard_size,
    )
    plan = Plan.of("ab" * 32, ("a", "b", "c", "d"), request)
    plan.write(folder)
    read = Plan.read(folder)
    assert read.to_record() == plan.to_record() and plan.difference(read) == ""
    assert list(read.manifest(0, request.total)) == list(plan.manifest(0, request.total))
    told = json.loads((folder / "request.json").read_text())["classes"]
    assert [each.get("left_out") for each in told] == [
        list(span.left_out) or None for span in request.spans
    ]


@pytest.mark.parametrize("left_out", [(7,), (1,), (3, 3), (4, 3), (2, 3, 4, 5, 6)])
def test_scans_that_cannot_be_left_out(left_out):
    with pytest.raises(GenerationError, match="left out"):
        Request(spans=(Span(0, 2, 5, left_out),))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format_version": 2}', '{"format_version": 1, "count": 4}', "null"]
)
def test_a_damaged_request_is_one_line(tmp_path, text):
    (tmp_path / "request.json").write_text(text)
    with pytest.raises(GenerationError, match=r" is damaged|an older scangan"):
        Plan.read(tmp_path)


@pytest.mark.parametrize("folder", ["../up", "", ".", "a/b", "/etc", "a\\b"])
def test_a_request_that_leads_elsewhere_is_refused(tmp_path, folder):
    plan = Plan.of("ab" * 32, ("a",), Request(spans=(Span(0, 0, 1),)))
    plan = to_told(plan.to_record())
    plan["classes"][0]["folder"] = folder
    (tmp_path / "request.json").write_text(json.dumps(plan))
    with pytest.raises(GenerationError, match="damaged"):
        Plan.read(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "3", "8/8", "0/" + "9" * 5000, "-1/8", "1/0", "a/b", "1/2/3", "1.0/2"]
)
def test_a_part_that_cannot_be(text):
    with pytest.raises(GenerationError, match="--shard"):
        Part.parse(text)


def test_parts_are_counted_from_0():
    assert Part.parse("0/1") == Part() and Part.parse("7/8") == Part(7, 8)
