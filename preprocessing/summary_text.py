"""The summary at the end of a preparation."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from scangan.artifacts.dataset_records import SplitInfo, Subset, Summary
from scangan.core.counted import counted

MANY = 0.1  # of a class's scans


def summary_lines(summary: Summary, out: Path) -> Iterator[str]:
    """Yield the summary line by line: a table of classes, what to check, and where the dataset is.

    Parameters
    ----------
    summary : DatasetInfo or SplitInfo
        The content of ``dataset.json`` or ``split.json``.
    out : Path
        The folder of the dataset.
    """
    subsets = _subsets(summary)
    of = f"of {counted(summary.count, 'scan')} "
    yield from _table(summary)
    yield from looked_through(summary)
    yield from _windows(summary)
    if summary.squared:
        yield (
            f"{counted(summary.squared, 'scan')} had pixels that are not square and were resampled "
            f"(--ignore-spacing leaves them as they are)"
        )
    if summary.synthetic:
        kept = "" if not subsets else ", all in train"
        kept = ", in any of train, val and test" if summary.allow_synthetic else kept
        yield (
            f"{counted(summary.synthetic, of + 'says that it is', of + 'say that they are')} "
            f"synthetic, made by a generative model{kept}"
        )
    if summary.noted:
        yield (
            f"{counted(summary.noted, 'scan has', 'scans have')} something unusual in the file; "
            f"items.jsonl notes how it was read"
        )
    if summary.left_out:
        yield f"{counted(summary.left_out, 'file')} left out by --include and --exclude"
    if summary.near_duplicates:
        yield (
            f"{counted(summary.near_duplicates, 'pair')} of near-duplicates may leak between classes or subjects: "
            f"{out / 'near_duplicates.jsonl'}"
        )
    if summary.candidates_not_compared:
        yield (
            f"so many scans are alike that "
            f"{counted(summary.candidates_not_compared, 'likely copy was', 'likely copies were')} "
            f"not compared; --duplicates drop leaves fewer"
        )
    for name, subset in subsets.items():
        if subset.lacks:
            why = "too few subjects"
            if summary.synthetic and not summary.allow_synthetic:
                why += ", or all are synthetic and stay in train"
            yield f"{name} has no scan of {', '.join(subset.lacks)}: {why}"
    if subsets and summary.without_subject:
        how = "--columns FILE,CLASS,SUBJECT" if summary.sources.get("labels") else "--subjects"
        yield (
            f"{counted(summary.without_subject, of + 'has', of + 'have')} no known subject and were split "
            f"file by file; if a patient has several files, say how to find the patient ({how})"
        )
    if summary.rejected:
        yield f"why files were refused: {out / 'rejects.jsonl'}"
    yield (
        f"{one_line(summary)}: {out} (look at preview.png; it shows real patients, do not pass it on)"
    )


def _windows(summary: Summary) -> Iterator[str]:
    """Yield the measured window, and the classes with many nearly blank scans."""
    window = summary.window
    if window:
        low, high = window.window
        yield f"window {low:g} to {high:g}, measured over {counted(window.scans, 'scan')}"
    outliers = window.outliers if window else ()
    if outliers:
        others = f" and {len(outliers) - 1} more" if len(outliers) > 1 else ""
        yield (
            f"left out of the window, because the values are far outside the rest: "
            f"{outliers[0]}{others}"
        )
    many = {
        name: counts
        for name, counts in summary.blank.items()
        if sum(counts.values()) > MANY * summary.files[name].kept
    }
    if many:
        total: Counter[str] = Counter()
        for counts in many.values():
            total.update(counts)
        told = " and ".join(
            counted(n, f"nearly {shade} scan") for shade, n in sorted(total.items())
        )
        yield (
            f"the window leaves {told} in {', '.join(many)}: look at preview.png, and try "
            f"--window image, or --window LO,HI"
        )


def looked_through(summary: Summary) -> Iterator[str]:
    """Yield where the classes were found, unless it is the source folder itself."""
    if summary.wrapper:
        yield f"the classes are the folders in {summary.wrapper}, the only folder with scans"


def one_line(summary: Summary) -> str:
    """Return one line with the counts of kept and refused scans, and any empty classes."""
    told = [f"{counted(summary.count, 'scan')} prepared at {summary.size}x{summary.size}"]
    if subsets := _subsets(summary):
        told.append(" + ".join(f"{subset.count} {name}" for name, subset in subsets.items()))
    if summary.duplicates:
        told.append(f"{counted(summary.duplicates, 'of them a copy', 'of them copies')} of another")
    told.append(f"{summary.rejected} refused" if summary.rejected else "none refused")
    if summary.empty_classes:
        told.append(f"NO usable scan in {', '.join(summary.empty_classes)}")
    return ", ".join(told)


def _subsets(summary: Summary) -> dict[str, Subset]:
    return summary.subsets if isinstance(summary, SplitInfo) else {}


def _table(summary: Summary) -> Iterator[str]:
    subsets = _subsets(summary)
    headings = ["files", "kept", "refused", *subsets]
    width = max([5, *map(len, summary.files)])
    yield f"  {'class':<{width}}" + "".join(f"{heading:>9}" for heading in headings)
    for name, row in summary.files.items():
        numbers = [row.files, row.kept, row.refused]
        numbers += [subset.counts.get(name, 0) for subset in subsets.values()]
        yield f"  {name:<{width}}" + "".join(f"{number:>9}" for number in numbers)
