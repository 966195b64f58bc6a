"""How fast is the page of a model, and does it leak? Opens it in Chromium and makes 10,000 scans.

    PYTHONPATH=tests python benchmarks/page_speed.py brain-mri-64

Prints seconds from opening the page to the first scan and to the first 64, and memory after more and more
scans: the script's heap once garbage is collected, and the resident memory of the page's process.
"""

import sys
import tempfile
import time
from pathlib import Path

from browser import chromium

from scangan.core.devices import CPU, Device
from scangan.runtime import demo
from scangan.runtime.catalog import open_model

READY = "() => document.getElementById('status').textContent.includes('Click one')"
SEEDS = 157  # of 64 scans each: 10,048


def main() -> None:
    """Measure the page of the model that the command line names."""
    name = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        out = Path(folder) / "page.html"
        demo.write_demo(open_model(name, Device("cpu", CPU)), name, out)
        print(f"{name}: {out.stat().st_size / 1e6:.2f} MB")
        page = browser.new_page()
        tools = page.context.new_cdp_session(page)
        start = time.perf_counter()
        page.goto(out.as_uri())
        page.wait_for_selector("#scans button")
        first = time.perf_counter() - start
        page.wait_for_function(READY)
        print(f"first scan {first:.2f} s, 64 scans {time.perf_counter() - start:.2f} s")
        for seed in range(1, SEEDS + 1):
            page.fill("#seed", str(seed))
            page.wait_for_function(READY)
            if seed % 26 == 1:
                tools.send("HeapProfiler.collectGarbage")
                heap = tools.send("Runtime.getHeapUsage")["usedSize"]
                print(
                    f"{64 * (seed + 1):6} scans: heap {heap / 1e6:.1f} MB, process {_resident()} MB"
                )


def _resident() -> int:
    """Memory of the largest renderer: MB."""
    found = [0]
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if b"--type=renderer" in status.with_name("cmdline").read_bytes():
                lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
                found.append(int(lines["RssAnon"].split()[0]) // 1024)
        except (OSError, KeyError):  # it has ended
            continue
    return max(found)


if __name__ == "__main__":
    main()
