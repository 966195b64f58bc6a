"""Turn pytest-benchmark's JSON into one Markdown table for each benchmark file.

python benchmarks/tables.py .benchmarks.json benchmarks/results
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

RESULTS = {"training": "training-speed"}  # training.md tells what is learnt


def main(source: Path, target: Path) -> None:
    report = json.loads(source.read_text(encoding="utf-8"))
    files = defaultdict(lambda: defaultdict(list))
    for one in report["benchmarks"]:
        file = Path(one["fullname"].split("::")[0]).stem.removeprefix("test_")
        files[file][one["group"]].append(one)
    target.mkdir(parents=True, exist_ok=True)
    for file, groups in files.items():
        path = target / f"{RESULTS.get(file, file)}.md"
        path.write_text(_page(file, groups, report["machine_info"]), encoding="utf-8")
        print(path)


def _page(file, groups, machine):
    cpu = machine["cpu"].get("brand_raw", machine["processor"] or machine["machine"])
    wall = any("wall" in row["extra_info"] for rows in groups.values() for row in rows)
    lines = [
        f"# {file}",
        "",
        "Made by `make bench`: CPU time on one thread, median of the rounds of one run"
        + (", or wall time where a table says best round" if wall else "")
        + f". The machine is shared ({cpu}, {machine['python_version']}): trust ratios, not absolute "
        "figures.",
    ]
    for group, rows in groups.items():
        lines += ["", f"## {group}", "", *_table(rows)]
    return "\n".join(lines) + "\n"


def _table(rows):
    said = rows[0]["extra_info"]
    if "asked" in said:
        return _limits(rows)
    wall = "wall" in said  # others slow some rounds down, and nothing but the machine speeds one up
    statistic = "min" if wall else "median"
    first = rows[0]["stats"][statistic] / said["images"]
    more = [name for name in ("bytes", "peak MB") if any(name in r["extra_info"] for r in rows)]
    unit = f"images a second, {said['wall']}, best round" if wall else "images a CPU-second"
    lines = [
        f"| | µs an image | {unit} | {rows[0]['name']} is |" + "".join(f" {m} |" for m in more),
        "| --- | ---: | ---: | ---: |" + " ---: |" * len(more),
    ]
    for row in rows:
        each = row["stats"][statistic] / row["extra_info"]["images"]
        ratio = "-" if row is rows[0] else f"{each / first:.2f}x as fast"
        if "share" in row["extra_info"]:  # of the first row's time, beside which it runs
            ratio = f"slowed by {each / first:.1%}"
        rest = "".join(f" {row['extra_info'].get(name, '-')} |" for name in more)
        lines.append(f"| {row['name']} | {each * 1e6:.1f} | {1 / each:.0f} | {ratio} |{rest}")
    return lines


def _limits(rows):
    """Rows beside what is asked of them, in CPU-seconds."""
    first = rows[0]["stats"]["median"]
    ratios = any("first row" in row["extra_info"]["asked"] for row in rows)
    peaks = any("peak MB" in row["extra_info"] for row in rows)
    more = [name for name, shown in (("to the first row", ratios), ("peak MB", peaks)) if shown]
    lines = [
        "| | CPU s | rounds |" + "".join(f" {name} |" for name in more) + " asked |",
        "| --- | ---: | ---: |" + " ---: |" * len(more) + " --- |",
    ]
    for row in rows:
        spent, told = row["stats"]["median"], row["extra_info"]
        cells = [row["name"], f"{spent:.2f}" if spent < 10 else f"{spent:.1f}"]
        cells.append(str(row["stats"]["rounds"]))
        cells += [f"{spent / first:.2f}"] if ratios else []
        cells += [str(told["peak MB"])] if peaks else []
        lines.append("| " + " | ".join([*cells, told["asked"]]) + " |")
    return lines


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
