"""Classes and subjects from a CSV."""

import unicodedata

import pytest

from scangan.core.errors import PreprocessingError
from scangan.preprocessing.find_scans import SourceFile, SourceOptions, find_scans
from scangan.preprocessing.labels import Row, assign, class_of, read_rows

# The head of the list of NIH ChestX-ray14, as it is handed out.
NIH = """\
Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,\
OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],
00000001_000.png,Cardiomegaly,000,1,057Y,M,PA,2682,2749,0.143,0.143,
00000001_001.png,Cardiomegaly|Emphysema,001,1,058Y,M,PA,2894,2729,0.143,0.143,
00000003_000.png,No Finding,000,3,081Y,F,PA,2582,2991,0.143,0.143,
"""
NIH_COLUMNS = "Image Index,Finding Labels,Patient ID"


@pytest.fixture
def scans(tmp_path):
    """Make a function that lays files and a CSV and finds the scans."""

    def find(table, *files, encoding="utf-8", **options):
        source = tmp_path / "scans"
        source.mkdir()
        for file in files:
            (source / file).parent.mkdir(parents=True, exist_ok=True)
            (source / file).touch()
        (tmp_path / "labels.csv").write_text(table, encoding=encoding)
        return find_scans(source, SourceOptions(labels=tmp_path / "labels.csv", **options))

    return find


def reasons_of(found):
    return {reject.file: reject.reason for reject in found.rejects}


def test_files_have_the_class_and_subject_of_their_line(scans):
    table = "file,class,subject\nb.png,sick,p 1\nin/a.dcm, well ,\n"
    found = scans(table, "b.png", "in/a.dcm")
    assert found.classes == ["sick", "well"]
    assert found.scans == [SourceFile("b.png", "sick", "p 1"), SourceFile("in/a.dcm", "well", None)]
    assert found.rejects == []


def test_a_list_needs_no_column_of_subjects(scans):
    assert scans("class,file\nsick,b.png\n", "b.png").scans == [SourceFile("b.png", "sick")]


def test_the_nih_list_works_as_it_is_handed_out(scans):
    files = ["images_001/images/00000001_000.png", "images_002/images/00000003_000.png"]
    found = scans(NIH, *files, columns=NIH_COLUMNS)
    assert found.scans == [
        SourceFile(files[0], "Cardiomegaly", "1"),
        SourceFile(files[1], "No Finding", "3"),
    ]
    assert reasons_of(found) == {"00000001_001.png": "no such file (line 3 of labels.csv)"}


@pytest.mark.parametrize(
    ("choice", "name"),
    [("first", "Emphysema"), ("join", "Cardiomegaly+Emphysema"), ("error", None)],
)
@pytest.mark.parametrize(
    "rows", ["x.png,Emphysema | Cardiomegaly", "x.png,Emphysema\nx,Cardiomegaly"]
)
def test_several_labels_are_refused_or_taken_as_told(scans, choice, name, rows):
    found = scans(f"file,class\n{rows}\ny.png,well\n", "x.png", "y.png", multi_label=choice)
    classes = {scan.file: scan.class_name for scan in found.scans}
    assert classes == ({"x.png": name, "y.png": "well"} if name else {"y.png": "well"})
    assert found.classes == sorted(classes.values())
    if name is None:
        assert reasons_of(found)["x.png"] in (
            "several labels ('Emphysema|Cardiomegaly', line 2 of labels.csv); "
            "choose --multi-label first or join",
            "several labels ('Emphysema' on line 2, 'Cardiomegaly' on line 3 of labels.csv); "
            "choose --multi-label first or join",
        )


def test_a_reason_stays_short_however_long_the_labels_are(scans):
    rows = "".join(f"x.png,{letter * 300}\n" for letter in "abcd")
    reason = reasons_of(scans(f"file,class\n{rows}y.png,well\n", "x.png", "y.png"))["x.png"]
    assert len(reason) < 200 and "'... on line 3, ... of labels.csv)" in reason


def test_the_same_line_twice_is_one(scans):
    found = scans("file,class,subject\nx.png,a,1\nx.png,a,1\nx.png,a|a,1\n", "x.png")
    assert found.scans == [SourceFile("x.png", "a", "1")]
    assert found.rejects == []


def test_two_subjects_of_one_file_are_refused_without_naming_them(scans):
    table = "file,class,subject\nx.png,a,Meier\nx.png,a,Meier\nx.png,a,Schulz\ny.png,a,1\n"
    reasons = reasons_of(scans(table, "x.png", "y.png"))
    assert reasons == {"x.png": "two subjects (lines 2 and 4 of labels.csv)"}


def test_a_name_is_found_by_its_path_the_end_of_its_path_or_without_its_ending(scans):
    rows = {
        "a/x.png": "a/x.png",  # not b/a/x.png
        "c\\y.png": "deep/c/y.png",
        "./z.png": "z.png",
        "ISIC_1": "b/ISIC_1.jpg",
        "volume": "b/volume.nii.gz",
        "1.2.840": "1.2.840",
        "1.2.841": "1.2.841.dcm",
        "scan": "scan.png",  # not scan.txt
    }
    table = "file,class\n" + "".join(f"{name},{i}\n" for i, name in enumerate(rows))
    found = scans(table, *rows.values(), "b/a/x.png", "d/y.png", "scan.txt")
    named = {scan.class_name: scan.file for scan in found.scans}
    assert named == {str(i): file for i, file in enumerate(rows.values())}
    assert reasons_of(found) == dict.fromkeys(["b/a/x.png", "d/y.png"], "not in labels.csv")


def test_the_end_of_a_uid_is_no_suffix(scans):
    found = scans("file,class\n1.2.840.10,a\n1.2.840.11.1,b\n", "1.2.840.10.1", "1.2.840.11.1")
    assert [each.file for each in found.scans] == ["1.2.840.11.1"]
    assert "no such file" in reasons_of(found)["1.2.840.10"]


@pytest.mark.parametrize("heading", ["subject", "Subject", "SUBJECT"])
def test_a_column_of_subjects_is_used_however_it_is_spelled(scans, heading):
    found = scans(f"file,class,{heading}\nx.png,a,p1\n", "x.png")
    assert found.scans == [SourceFile("x.png", "a", "p1")]


def test_a_class_of_which_no_file_is_there_is_still_a_class(scans):
    found = scans("file,class\nx.png,a\ngone.png,b\ngone2.png,c|d\ngone3.png,\x1b\n", "x.png")
    assert found.classes == ["a", "b"]
    assert [reject.class_name for reject in found.rejects] == ["b", None, None]


def test_a_name_in_two_places_names_both(scans):
    found = scans("file,class\nx.png,a\ny,b\n", "1/x.png", "2/x.png", "y.png")
    assert reasons_of(found)["x.png"] == (
        "both '1/x.png' and '2/x.png'; give the path (line 2 of labels.csv)"
    )


def test_lines_without_a_file_or_a_class_are_refused(scans):
    found = scans("file,class\n,a\nx.png\ny.png,|\nz.png,a\n\n", "x.png", "y.png", "z.png")
    assert reasons_of(found) == {
        "": "no file name (line 2 of labels.csv)",
        "x.png": "no class (line 3 of labels.csv)",
        "y.png": "no class (line 4 of labels.csv)",
    }


def test_line_numbers_count_lines_within_quotes(scans):
    found = scans('file,class,note\nx.png,a,"two\nlines"\ny.png,,\n', "x.png", "y.png")
    assert reasons_of(found) == {"y.png": "no class (line 4 of labels.csv)"}


@pytest.mark.parametrize(
    ("label", "says"),
    [
        ("a/b", "path separator"),
        ("a\\b", "path separator"),
        ("..", "starts with a dot"),
        ('"a\nb"', "control characters"),
        ("\x1b[31m", "control characters"),
    ],
)
def test_a_label_that_cannot_name_a_class_is_refused(scans, label, says):
    found = scans(f"file,class\nx.png,{label}\ny.png,a\n", "x.png", "y.png")
    assert says in reasons_of(found)["x.png"]
    assert found.classes == ["a"]


def test_classes_that_differ_only_in_case_are_an_error(scans):
    with pytest.raises(PreprocessingError, match="'Normal' and 'normal'"):
        scans("file,class\nx.png,Normal\ny.png,normal\n", "x.png", "y.png")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_what_spreadsheets_write_is_read(scans, encoding, delimiter):
    table = 'file,note,class\r\n"Schädel.png","1, 2; 3",well\r\n'.replace(",", delimiter)
    written = unicodedata.normalize("NFD", "Schädel.png")  # as macOS names it
    found = scans(table, written, encoding=encoding)
    assert found.scans == [SourceFile(written, "well")]


def test_a_missing_column_lists_those_there_are(scans):
    with pytest.raises(PreprocessingError, match="no column 'file'; it has: Image Index, Finding"):
        scans(NIH, "x.png")


def test_a_missing_column_that_was_asked_for_is_an_error(scans):
    with pytest.raises(PreprocessingError, match="no column 'who'"):
        scans("file,class\nx.png,a\n", "x.png", columns="file,class,who")


@pytest.mark.parametrize(
    ("table", "encoding", "says"),
    [
        ("file,class\nx.png,ä\n", "utf-16", "save it as 'CSV UTF-8'"),
        ("file,class\nx.png,ä\n", "latin-1", "save it as 'CSV UTF-8'"),
        ("", "utf-8", "has no heading; its first line"),
        ("file,class\n", "utf-8", "has a heading and no lines"),
        ("file,class\nq.png,a\n", "utf-8", "has 1 line, and none .* 'q.png': no such file"),
        (f"file,class\n{'x' * 200_000},a\n", "utf-8", "cannot be read as CSV: field larger"),
    ],
)
def test_a_list_that_is_of_no_use_says_why(scans, table, encoding, says):
    with pytest.raises(PreprocessingError, match=says):
        scans(table, "x.png", encoding=encoding)


def test_a_list_that_is_missing_says_so(tmp_path):
    with pytest.raises(PreprocessingError, match="cannot be read: no such file"):
        find_scans(tmp_path, SourceOptions(labels=tmp_path / "labels.csv"))


def test_the_subject_comes_from_one_place_only(scans):
    with pytest.raises(PreprocessingError, match="leave one out") as error:
        scans("file,class,subject\nx.png,a,1\n", "x.png", subjects="x")
    assert error.value.exit_code == 2


def test_a_pattern_gives_the_subject_of_listed_files(scans):
    found = scans("file,class\np7_1.png,a\n", "p7_1.png", subjects=r"p\d+")
    assert found.scans == [SourceFile("p7_1.png", "a", "p7")]


def test_a_list_within_the_folder_and_documents_are_no_scans(tmp_path):
    for name in ("x.png", "README.md", "LICENSE", "more.png"):
        (tmp_path / name).touch()
    (tmp_path / "list.csv").write_text("file,class\nx.png,a\n")
    found = find_scans(tmp_path, SourceOptions(labels=tmp_path / "list.csv"))
    assert reasons_of(found) == {"more.png": "not in list.csv"}


def test_a_row_without_a_file_name_means_no_file():
    rows = [Row(2, "", "tumor", None), Row(3, "y", "no", None)]
    of_file, rejects = assign(rows, ["IM1", "y"], "labels.csv")
    assert list(of_file) == ["y"]
    assert rejects[0].reason == "no file name (line 2 of labels.csv)"


def test_a_row_without_a_subject_does_not_contradict_one_with():
    rows = [Row(2, "a", "tumor", None), Row(3, "a", "tumor", "P1")]
    assert class_of(rows, "error", "labels.csv") == ("tumor", "P1", "")


@pytest.mark.parametrize("heading", ["\x1b[2J,class", "\0", "a\u2028b,class", "x" * 5000])
def test_headings_of_what_is_no_table_are_told_in_one_short_line(tmp_path, heading):
    table = tmp_path / "labels.csv"
    table.write_text(f"{heading}\n1,2\n", encoding="utf-8")
    with pytest.raises(PreprocessingError, match="has no column 'file'") as caught:
        read_rows(table, ("file", "class", "subject"))
    said = str(caught.value).replace(str(table), "")
    assert said.isprintable() and len(said) < 500
