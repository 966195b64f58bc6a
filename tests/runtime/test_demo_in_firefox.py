"""The page of a model in Firefox, which has no origin for a page from disk."""

import numpy as np
import pytest
from browser import GREYS
from firefox import firefox, needs_firefox

from scangan.core.devices import CPU, Device
from scangan.runtime import ScanGenerator, demo
from scangan.runtime.catalog import open_model

MODEL = "brain-mri-64"


@needs_firefox
@pytest.mark.skipif(
    not demo.SCRIPT.is_file(), reason="the page's script was not built (it needs npm)"
)
def test_firefox_makes_the_scans_of_gen_scans(tmp_path):
    demo.write_demo(open_model(MODEL, Device("cpu", CPU)), MODEL, tmp_path / "page.html")
    with firefox() as browser, ScanGenerator(MODEL) as generator:
        browser.open(tmp_path / "page.html")
        browser.wait("document.getElementById('status').textContent.includes('Click one')")
        rows = browser.evaluate(f"({GREYS})([...document.querySelectorAll('#scans canvas')])")
        drawn = np.array(rows).reshape(-1, 64, 64)
        want = np.concatenate([generator.sample(16, name) for name in generator.classes])
        off = np.abs(drawn - want)
        assert off.max() <= 1 and off.mean() < 1e-4
        browser.resize(360, 900)
        assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
        browser.evaluate("document.querySelectorAll('#scans button')[5].click()")
        browser.wait("document.querySelectorAll('#around button').length === 9")
        assert not browser.wrong
