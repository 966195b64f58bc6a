"""What is kept of each scan while a dataset is prepared."""

import tracemalloc

from scangan.preprocessing.journal import Asked, FileLine, FrameLine, Journal
from scangan.preprocessing.outcome import outcome_of

COUNT = 20_000


def line(number):
    """A journal's line for a file with one scan; ten files a patient."""
    frame = FrameLine(
        frame=0,
        identifiers=(f"patient {number // 10}", None, None),
        window=None,
        perceptual_hash=f"{number:048x}",
        enlarged=False,
        aspect=1.0,
        blank="",
        synthetic=number % 2 == 1,
        notes=(),
    )
    return FileLine(
        file=f"{'cat' if number < COUNT // 2 else 'dog'}/{number}.png",
        class_name="cat" if number < COUNT // 2 else "dog",
        given=None,
        sha256=f"{number % (COUNT - 1):064x}",  # the last file is a copy of the first
        frames=(frame,),
        refused=(),
    )


def test_of_each_scan_only_what_must_be_compared_is_kept(tmp_path):
    asked = Asked(options={"duplicates": "keep"}, sources={}, readers={})
    journal = Journal(tmp_path, 16, asked)
    images = tmp_path / "images"
    images.write_bytes(bytes(256))
    with journal.writing(0):
        for number in range(COUNT):
            journal.append(line(number), images.open("rb"))
    tracemalloc.start()
    made = outcome_of(journal)
    made.group([(20, 40)])
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept / COUNT < 150  # bytes; an item takes 1,000

    items = list(made.items())
    assert [item.file for item in items] == [line(n).file for n in range(COUNT)]
    assert made.classes == ("cat", "dog") and made.copies == 1
    assert items[-1].duplicate_group == 0 and items[7].duplicate_group == 7
    assert items[25].subject == "patient 2" and items[25].synthetic
    groups = [item.group for item in items]
    assert groups[0] == groups[9] == groups[-1] != groups[10]
    assert groups[20] == groups[29] == groups[40] != groups[30]
    assert items == list(made.items(range(COUNT)))
    [part] = made.take(made.files[-1:]).items()
    assert part.file == items[-1].file and part.duplicate_group == 0
