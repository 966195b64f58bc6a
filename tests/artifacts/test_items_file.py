"""Items are read from the disk as needed, and are what a list of them would be."""

import hashlib
import tracemalloc
from functools import partial

import pytest

from scangan.artifacts.dataset_records import Item
from scangan.artifacts.items_file import ItemsFile
from scangan.artifacts.records import line_of, parse_record

parse = partial(parse_record, Item)


def item(number, name):
    return Item(
        file=f"{name}/{number:07d}.png", sha256=f"{number:064x}", class_name=name, subject=None, frame=0,
        duplicate_group=number, window=None, perceptual_hash=f"{number:048x}", enlarged=False,
        aspect=1.0, blank="", synthetic=False, notes=(), group=number,
    )  # fmt: skip


def test_it_is_a_sequence_of_what_is_in_the_file(tmp_path):
    items = [item(n, name) for n, name in enumerate("bacacaab")]
    items[3:3] = [item(100, "ä")]
    file = tmp_path / "items.jsonl"
    file.write_text("".join(map(line_of, items)))
    found = ItemsFile(file, parse)
    assert list(found) == items and list(found) == items  # again
    assert len(found) == 9 and found[0] == items[0] and found[-1] == items[-1]
    assert found[2:7:2] == items[2:7:2] and found[9:] == []
    with pytest.raises(IndexError):
        found[9]
    assert found.labels(("ä", "c", "b", "a")).tolist() == [2, 3, 1, 0, 3, 1, 3, 3, 2]
    with pytest.raises(ValueError, match="an item has another class, 'b'"):
        found.labels(("ä", "c", "a"))
    assert found.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_line_that_is_no_item_is_named(tmp_path):
    file = tmp_path / "items.jsonl"
    file.write_text(line_of(item(0, "a")) + "{}\n")
    with pytest.raises(ValueError, match=r"line 2: .*`file`"):
        ItemsFile(file, parse)


def test_it_keeps_16_bytes_for_each(tmp_path):
    count = 20_000
    file = tmp_path / "items.jsonl"
    with file.open("w") as lines:
        lines.writelines(line_of(item(n, "a")) for n in range(count))
    tracemalloc.start()
    found = ItemsFile(file, parse)
    assert sum(one.duplicate_group for one in found) == count * (count - 1) // 2
    kept, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 18 * count and most < 40 * count
