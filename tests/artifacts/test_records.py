"""Records come back as they were written, and say what is wrong with those that do not."""

from pathlib import Path

import msgspec
import pytest

from scangan.artifacts.records import Record, parse_record, parse_records, write_records


class Line(Record, rename={"class_name": "class"}):
    file: str
    class_name: str
    frame: int | None = None
    box: tuple[float, float] = (0.0, 1.0)


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    lines = [
        Line(file="a.png", class_name="glioma"),
        Line(file="b\udc80.dcm", class_name="no tumor", frame=3, box=(-1.5, 2.0)),
    ]
    path = tmp_path / "lines.jsonl"
    write_records(path, lines)
    assert list(parse_records(Line, path.read_bytes())) == lines


def test_a_class_name_comes_in_its_one_form() -> None:
    told = '{"file": "a.png", "class": "cafe\u0301"}'
    assert parse_record(Line, told).class_name == "café"


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ('{"file": "a.png"}', "`class`"),
        ('{"file": "a.png", "class": "x", "colour": 1}', "`colour`"),
        ('{"file": 7, "class": "x"}', "$.file"),
        ('{"file": "a.png", "class": "x", "box": [1.0]}', "$.box"),
        (f'{{"file": "a.png", "class": "x", "{"y" * 5000}": 1}}', "unknown field `yyy"),
        (f'{{"file": "é.png", "class": "x", "\\u00e9{"y" * 5000}": 1}}', "unknown field `éyyy"),
        ('{"file": "a.png", "class": "x", "a\\nb": 1}', "unknown field `a"),
        ("[]", "object"),
        ('{"file": "a.png"', "line"),
        ('{"file": "\\u00e9.png", "class": "x", "box": ' + "[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(told: str, said: str) -> None:
    good = '{"file": "a.png", "class": "x"}'
    with pytest.raises(ValueError, match=r"^line 2: ") as error:
        list(parse_records(Line, f"{good}\n{told}\n".encode()))
    assert said in str(error.value)
    assert "\n" not in str(error.value) and len(str(error.value)) < 250


def test_a_record_does_not_change() -> None:
    line = Line(file="a.png", class_name="x")
    with pytest.raises(AttributeError):
        line.file = "b.png"  # type: ignore[misc]
    assert msgspec.structs.replace(line, file="b.png").file == "b.png"
