"""Which files are scans, of which class and subject."""

import os
import shutil

import pytest
from conftest import BRAIN, CLASSES
from dicoms import dicom

from scangan.core.errors import PreprocessingError
from scangan.core.folders import LINKS_BACK
from scangan.preprocessing.find_scans import SourceFile, SourceOptions, find_scans


def make(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def found_in(source, **options):
    return find_scans(source, SourceOptions(**options))


def files_of(found):
    return [scan.file for scan in found.scans]


def reasons_of(found):
    return {reject.file: reject.reason for reject in found.rejects}


def test_folders_are_classes_and_are_searched_to_the_bottom(tmp_path):
    found = found_in(make(tmp_path, "b/2.png", "a/deep/er/1.dcm", "a/IM0001", "b/notes.txt"))
    assert found.classes == ["a", "b"]
    assert found.scans == [
        SourceFile("a/IM0001", "a"),
        SourceFile("a/deep/er/1.dcm", "a"),
        SourceFile("b/2.png", "b"),
        SourceFile("b/notes.txt", "b"),
    ]
    assert found.rejects == []


def test_the_sample_scans_are_all_found_in_order():
    found = found_in(BRAIN)
    assert found.classes == list(CLASSES)
    assert files_of(found) == sorted(p.relative_to(BRAIN).as_posix() for p in BRAIN.rglob("*.jpg"))


def test_hidden_files_and_litter_are_skipped_at_every_depth(tmp_path):
    litter = (
        "._x.png .DS_Store Thumbs.db desktop.ini Icon\r .ipynb_checkpoints/x.png __MACOSX/x.png"
    )
    litter += " @eaDir/x.png $RECYCLE.BIN/x.png lost+found/x.png"
    names = litter.split(" ")
    make(tmp_path, "a/1.png", *names, *(f"a/{n}" for n in names), *(f"a/b/{n}" for n in names))
    found = found_in(tmp_path)
    assert found.classes == ["a"]
    assert files_of(found) == ["a/1.png"]
    assert found.rejects == []


def test_a_scan_beside_the_class_folders_is_named_and_a_document_is_not(tmp_path):
    make(tmp_path, "a/1.png", "stray.JPG", "volume.nii.gz", "README.md", "LICENSE", "labels.csv")
    rejects = found_in(tmp_path).rejects
    assert rejects == [
        ("stray.JPG", None, "in no class folder"),
        ("volume.nii.gz", None, "in no class folder"),
    ]


def test_dicom_files_without_a_suffix_beside_the_class_folders_are_named(tmp_path):
    make(tmp_path, "a/1.png", "LICENSE", "notes")
    for name in ("IM0000", "1.2.840.0"):
        (tmp_path / name).write_bytes(dicom())
    assert {each.file: each.reason for each in found_in(tmp_path).rejects} == {
        "IM0000": "in no class folder", "1.2.840.0": "in no class folder",
    }  # fmt: skip


def test_what_was_not_to_be_included_hides_nothing_that_could_not_be_read(tmp_path):
    source = make(tmp_path / "scans", "a/1.png", "a/2.jpg", "stray.png")
    table = tmp_path / "t.csv"
    table.write_text("file,class\n1,a\n2,a\nmissing7,a\n")
    found = find_scans(source, SourceOptions(labels=table, include=("*.png",)))
    assert {each.file: each.reason for each in found.rejects} == {
        "missing7": "no such file (line 4 of t.csv)", "stray.png": "not in t.csv",
    }  # fmt: skip


def test_a_refused_file_can_be_excluded(tmp_path):
    make(tmp_path, "a/1.png", "stray.png")
    found = find_scans(tmp_path, SourceOptions(exclude=("stray.png",)))
    assert found.rejects == [] and files_of(found) == ["a/1.png"]


def test_a_class_that_is_left_out_is_gone_and_one_that_was_empty_is_not(tmp_path):
    make(tmp_path, "a/1.png", "b/2.png", "b/3.png", "c/4.png")
    (tmp_path / "void").mkdir()
    for options in (SourceOptions(exclude=("b/*",)), SourceOptions(include=("a/*", "c/*"))):
        found = find_scans(tmp_path, options)
        assert found.classes == ["a", "c", "void"] and found.left_out == 2


def test_a_folder_without_class_folders_is_one_class(tmp_path, monkeypatch):
    source = make(tmp_path / "Röntgen 2", "1.dcm", "IM2", "README", "SOURCE.md", ".hidden/1.dcm")
    found = found_in(source)
    assert found.classes == ["Röntgen 2"]
    assert found.scans == [SourceFile("1.dcm", "Röntgen 2"), SourceFile("IM2", "Röntgen 2")]
    monkeypatch.chdir(source)
    assert found_in(source.__class__(".")) == found


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ((), "no class folders and no scans"),
        (("README.md", "Thumbs.db", ".x.png"), "no class folders and no scans"),
        (("a/.x.png",), "no files in its class folders"),
        (("a/.x.png", "stray.png"), "no files in its class folders .'stray.png': in no class fold"),
    ],
)
def test_a_folder_without_a_scan_says_what_to_do(tmp_path, files, says):
    with pytest.raises(PreprocessingError, match=says):
        found_in(make(tmp_path, *files))


def test_a_source_that_is_no_folder_says_so(tmp_path):
    with pytest.raises(PreprocessingError, match="is not a folder; give"):
        found_in(tmp_path / "nowhere")
    with pytest.raises(PreprocessingError, match="is not a folder but a file; give"):
        found_in(make(tmp_path, "volume.nii.gz") / "volume.nii.gz")


def test_the_subsets_of_a_split_are_no_classes(tmp_path):
    make(tmp_path, "Train/a/1.png", "test/a/1.png")
    for _ in range(2):
        with pytest.raises(PreprocessingError, match=r"not classes.*; give one of them: .*/Train;"):
            found_in(tmp_path)
        make(tmp_path, "a/1.png")
    assert found_in(tmp_path, class_level=1).classes == ["Train", "a", "test"]
    for level in (-1, 10):
        with pytest.raises(PreprocessingError, match=r"--class-level .* it takes 0 to 9"):
            SourceOptions(class_level=level)
    with pytest.raises(PreprocessingError, match="--class-level and --labels"):
        SourceOptions(class_level=1, labels=tmp_path / "x.csv")


def test_links_are_followed(tmp_path):
    elsewhere = make(tmp_path / "elsewhere", "series/1.png", "2.png")
    source = make(tmp_path / "source", "a/0.png")
    (source / "a/linked").symlink_to(elsewhere)
    (source / "a/file.png").symlink_to(elsewhere / "2.png")
    (source / "b").symlink_to(elsewhere / "series")
    (source / "a/gone.png").symlink_to("nowhere")  # reading will say so
    (source / "a/itself.png").symlink_to("itself.png")
    found = found_in(source)
    assert files_of(found) == [
        "a/0.png", "a/file.png", "a/gone.png", "a/itself.png", "a/linked/2.png",
        "a/linked/series/1.png", "b/1.png",
    ]  # fmt: skip
    assert found.rejects == []


def test_links_in_a_circle_are_named_and_come_to_an_end(tmp_path):
    source = make(tmp_path / "source", "a/b/1.png", "c/2.png")
    (source / "a/b/up").symlink_to(source / "a")
    (source / "a/0_first").symlink_to(source / "a/b")
    (source / "c/root").symlink_to(tmp_path)
    (source / "all").symlink_to(source)
    found = found_in(source)
    assert files_of(found) == ["a/b/1.png", "c/2.png"]
    assert found.classes == ["a", "c"]
    assert reasons_of(found) == dict.fromkeys(["a/0_first", "a/b/up", "all", "c/root"], LINKS_BACK)


def test_links_between_many_folders_do_not_multiply(tmp_path):
    source = make(tmp_path, *(f"a/{i}/{i}.png" for i in range(12)))
    for i in range(12):
        for j in range(12):
            (source / f"a/{i}/to{j}").symlink_to(source / f"a/{j}")
    found = found_in(source)
    assert len(found.scans) == 12
    assert len(found.rejects) == 144


def test_an_unreadable_folder_is_named(tmp_path, monkeypatch):
    scandir = os.scandir

    def refusing(path):  # the tests may run as root, who may read everything
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = found_in(make(tmp_path, "a/1.png", "a/locked/2.png", "b/3.png"))
    assert files_of(found) == ["a/1.png", "b/3.png"]
    assert found.rejects == [("a/locked", "a", "cannot be read: permission denied")]
    with pytest.raises(PreprocessingError, match="cannot be read: permission denied"):
        found_in(make(tmp_path / "locked", "a/1.png"))


def test_names_with_spaces_brackets_accents_and_other_bytes(tmp_path):
    make(tmp_path, "kind (ä) [1]/Schädel [1] .jpg")
    (tmp_path / "kind (ä) [1]" / os.fsdecode(b"\xff.jpg")).touch()
    files = files_of(found_in(tmp_path))
    assert files == ["kind (ä) [1]/Schädel [1] .jpg", "kind (ä) [1]/\udcff.jpg"]
    assert all((tmp_path / file).exists() for file in files)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (b"a\tb", "control characters"),
        (b"a\nb", "control characters"),
        (b"\xc2\x9bm", "control characters"),
        (b"\xff", "not UTF-8"),
        (b"a\\b", "path separator"),
    ],
)
def test_a_folder_that_cannot_name_a_class_is_an_error_of_one_line(tmp_path, name, says):
    make(tmp_path, "fine/1.png")
    (tmp_path / os.fsdecode(name)).mkdir()
    with pytest.raises(PreprocessingError, match=f"{says}; rename it") as error:
        found_in(tmp_path)
    assert str(error.value).isprintable()


def test_classes_that_differ_only_in_case_are_an_error_that_names_both(tmp_path):
    make(tmp_path, "normal/1.png", "norma\u0142/1.png")
    assert found_in(tmp_path).classes == ["normal", "norma\u0142"]
    make(tmp_path, "NORMAL/1.png")
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this file system does not tell the case of letters")
    with pytest.raises(PreprocessingError, match="'NORMAL' and 'normal'"):
        found_in(tmp_path)


KERMANY = (
    "NORMAL/IM-0115-0001.jpeg",
    "NORMAL/NORMAL2-IM-0927-0001.jpeg",
    "PNEUMONIA/person12_bacteria_3.jpeg",
    "PNEUMONIA/person12_virus_40.jpeg",
    "PNEUMONIA/unnamed.jpeg",
)


@pytest.mark.parametrize(
    ("pattern", "subjects"),
    [
        (r"(person\d+|IM-\d+)", ["IM-0115", "IM-0927", "person12", "person12", None]),
        (r"person\d+|IM-\d+", ["IM-0115", "IM-0927", "person12", "person12", None]),
        (r"(person\d+)|(IM-\d+)", ["IM-0115", "IM-0927", "person12", "person12", None]),
        (r"(person)(?P<subject>\d+)", [None, None, "12", "12", None]),
        (r"(person)?.*?(?P<subject>[0-9]*)-", [None, "2", None, None, None]),
        (r"^NORMAL", ["NORMAL", "NORMAL", None, None, None]),
    ],
)
def test_a_pattern_finds_the_subject_in_the_path(tmp_path, pattern, subjects):
    make(tmp_path, *KERMANY)
    assert [scan.subject for scan in found_in(tmp_path, subjects=pattern).scans] == subjects


@pytest.mark.parametrize("pattern", ["patient", "NORMAL/(x*)", "(?P<subject>)"])
def test_a_pattern_that_finds_no_subject_at_all_is_an_error(tmp_path, pattern):
    with pytest.raises(PreprocessingError, match="matches none of 5 files; the first is 'NORM"):
        found_in(make(tmp_path, *KERMANY), subjects=pattern)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"subjects": "ab(c"}, "unterminated subpattern at character 3"),
        ({"subjects": "[z-a]"}, "bad character range z-a at character 2"),
        ({"columns": "file"}, "it takes FILE,CLASS"),
        ({"columns": "file,,subject"}, "it takes FILE,CLASS"),
        ({"columns": "file,file"}, "it takes FILE,CLASS"),
        ({"columns": ""}, "it takes FILE,CLASS"),
        ({"multi_label": "last"}, "it takes error, first, join"),
        ({"columns": "a,b"}, "say how to read --labels"),
        ({"multi_label": "join"}, "say how to read --labels"),
        ({"labels": "x.csv", "columns": "a,b,c", "subjects": "x"}, "the column 'c' both"),
    ],
)
def test_options_that_mean_nothing_are_a_usage_error(options, says):
    with pytest.raises(PreprocessingError, match=says) as error:
        SourceOptions(**options)
    assert error.value.exit_code == 2


def test_options_are_json_values(tmp_path):
    options = SourceOptions(labels=tmp_path / "labels.csv", columns='"a, b",c')
    assert options.column_names == ("a, b", "c")
    assert options.to_dict() == {
        "labels": "labels.csv", "columns": '"a, b",c', "multi_label": "error", "class_level": None,
        "subjects": None, "include": [], "exclude": [],
    }  # fmt: skip
    assert SourceOptions().to_dict()["labels"] is None


def test_the_same_scans_are_found_wherever_they_lie(some_scans, tmp_path):
    moved = shutil.copytree(some_scans, tmp_path / "elsewhere")
    assert found_in(some_scans) == found_in(moved)
    assert len(found_in(moved).scans) == 20


def test_files_beside_the_only_folder_with_scans_are_refused_and_not_passed_over(tmp_path):
    make(tmp_path, "ct/normal/1.png", "ct/tumor/1.png", "mri/a.nrrd", "mri/b.nrrd", "mri/notes.txt")
    found = found_in(tmp_path)
    assert found.wrapper == "ct" and found.classes == ["normal", "tumor"]
    assert [(each.file, each.reason) for each in found.rejects] == [
        ("mri/a.nrrd", "in no class folder"), ("mri/b.nrrd", "in no class folder")
    ]  # fmt: skip
