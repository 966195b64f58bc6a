"""Turn pytest-benchmark's JSON into one Markdown table for each benchmark file.

python benchmarks/tables.py .benchmarks.json benchmarks/results
"""

import json
import sys
from collections import defaultdict
from pathlib import Path


def main(source: Path, target: Path) -> None:
    report = json.loads(source.read_text(encoding="utf-8"))
    files = defaultdict(lambda: defaultdict(list))
    for one in report["benchmarks"]:
        file = Path(one["fullname"].split("::")[0]).stem.removeprefix("test_")
        files[file][one["group"]].append(one)
    target.mkdir(parents=True, exist_ok=True)
    for file, groups in files.items():
        path = target / f"{file}.md"
        path.write_text(_page(file, groups, report["machine_info"]), encoding="utf-8")
        print(path)


def _page(file, groups, machine):
    cpu = machine["cpu"].get("brand_raw", machine["processor"] or machine["machine"])
    lines = [
        f"# {file}",
        "",
        "Made by `make bench`: CPU time on one thread, median of the rounds of one run. The machine "
        f"is shared ({cpu}, {machine['python_version']}): trust ratios, not absolute figures.",
    ]
    for group, rows in groups.items():
        first = rows[0]["stats"]["median"] / rows[0]["extra_info"]["images"]
        sized = any("bytes" in row["extra_info"] for row in rows)
        lines += ["", f"## {group}", ""]
        lines += [
            "| | µs an image | images a CPU-second | "
            + f"{rows[0]['name']} is |"
            + " bytes |" * sized
        ]
        lines += ["| --- | ---: | ---: | ---: |" + " ---: |" * sized]
        for row in rows:
            each = row["stats"]["median"] / row["extra_info"]["images"]
            ratio = "-" if row is rows[0] else f"{each / first:.2f}x as fast"
            size = f" {row['extra_info'].get('bytes', '-')} |" * sized
            lines.append(f"| {row['name']} | {each * 1e6:.1f} | {1 / each:.0f} | {ratio} |{size}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
