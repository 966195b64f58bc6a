"""The page of a model: what it holds, what it makes in a browser, and how it is refused."""

import gzip
import io
import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from browser import GREYS, barriers, chromium, needs_chromium, opened
from click.testing import CliRunner
from PIL import Image
from programs import main_of

from scangan.artifacts.latents import Draw
from scangan.core.devices import CPU, Device
from scangan.core.png import encode_png
from scangan.runtime import ScanGenerator, demo
from scangan.runtime.catalog import open_model

ROOT = Path(__file__).parents[2]
WEB = ROOT / "runtime/web"
MODEL = "brain-mri-64"

needs_script = pytest.mark.skipif(
    not demo.SCRIPT.is_file(), reason="the page's script was not built (it needs npm)"
)
needs_npm = pytest.mark.skipif(
    not shutil.which("npm") or not (WEB / "node_modules").is_dir(), reason="make web needs npm"
)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """The page of a bundled model."""
    out = tmp_path_factory.mktemp("demo") / "brain.html"
    done = CliRunner().invoke(main_of("scangan"), ["demo", MODEL, "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert (
        done.output == f"a page of {out.stat().st_size / 1e6:.1f} MB; open it in a browser: {out}\n"
    )
    return out


@pytest.fixture(scope="module")
def browser():
    """Chromium."""
    with chromium() as started:
        yield started


def _settled(page, selector, heading=""):
    """Wait until pictures are up to date."""
    page.wait_for_function(
        """([selector, heading]) => document.querySelector(selector).ariaBusy === "false" &&
        document.getElementById("viewer-heading").textContent.includes(heading)""",
        arg=[selector, heading],
    )


def _texts(png):
    """The texts of a PNG."""
    image = Image.open(io.BytesIO(png))
    image.load()
    return dict(image.text)


def _ready(page, text="Click one"):
    page.wait_for_function(
        "text => document.getElementById('status').textContent.includes(text)", arg=text
    )


def _same(made, want):
    """Whether scans are the same but for a few pixels, which a browser rounds to the next level."""
    off = np.abs(made.astype(int) - want)
    return made.shape == want.shape and off.max() <= 1 and off.mean() < 1e-4


def _greys(page, selector):
    """The grey levels of the canvases: uint8 [N, H, W]."""
    rows = page.eval_on_selector_all(f"{selector} canvas", GREYS)
    side = round(len(rows[0]) ** 0.5)
    return np.array(rows, np.uint8).reshape(-1, side, side)


@needs_npm
def test_the_scripts_modules_pass_their_own_tests():
    files = sorted(map(str, (ROOT / "tests/runtime/web").glob("*.test.js")))
    done = subprocess.run(
        ["node", "--test", "--test-reporter=tap", *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "\n# fail 0\n" in done.stdout and "\n# pass 10\n" in done.stdout


@needs_npm
def test_the_scripts_types_and_format_are_right():
    done = subprocess.run(
        ["npm", "run", "--silent", "check"], cwd=WEB, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@needs_script
def test_the_page_holds_all_it_needs_and_fetches_nothing(page_file):
    text = page_file.read_text("utf-8")
    assert len(text) < 6.5e6
    assert not re.search(r"\{\{\w+\}\}", text)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert (
        policy.startswith("default-src 'none'; script-src 'sha256-")
        and "unsafe-inline" not in policy
    )
    assert "MIT License" in text and "SYNTHETIC" in text
    assert "real scans" in text and "doi:10.34740" in text and str(ROOT) not in text
    facts = json.loads(re.search(r'id="facts">(.*?)</script>', text)[1])
    assert facts["sha256"] == open_model(MODEL, Device("cpu", CPU)).sha256


@needs_script
@needs_chromium
def test_a_browser_makes_the_scans_of_gen_scans(page_file, browser):
    with opened(browser, page_file) as (page, wrong), ScanGenerator(MODEL) as generator:
        _ready(page)
        drawn = _greys(page, "#scans")
        want = np.concatenate([generator.sample(16, name) for name in generator.classes])
        assert _same(drawn, want)

        page.select_option("#class", "2")
        page.fill("#seed", "18446744073709551615")
        page.check("#paired")
        page.eval_on_selector(
            "#truncation", "at => { at.value = 0.7; at.dispatchEvent(new Event('input')); }"
        )
        _ready(page, "seed 18446744073709551615. Click")
        draw = Draw(2**64 - 1, 0.7, paired=True)
        z = draw.latents(2, range(64), generator.card.latent)
        assert _same(_greys(page, "#scans"), generator.from_latents(z, 2))
        page.click("#more")
        page.wait_for_function("() => document.querySelectorAll('#scans button').length === 128")
        assert not wrong


@needs_script
@needs_chromium
def test_a_zip_has_the_files_of_gen_scans(page_file, browser, tmp_path):
    words = ["generate", "--model", MODEL, "--count", "11", "--seed", "4", "--truncation", "0.7"]
    done = CliRunner().invoke(main_of("scangan"), [*words, "--out", str(tmp_path / "scans")])
    assert done.exit_code == 0, done.output
    out = tmp_path / "scans"
    files = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.png")}
    files["manifest.jsonl"] = (out / "manifest.jsonl").read_bytes()
    assert len(files) == 45
    with opened(browser, page_file, accept_downloads=True) as (page, wrong):
        _ready(page)
        page.fill("#seed", "4")
        page.eval_on_selector(
            "#truncation", "at => { at.value = 0.7; at.dispatchEvent(new Event('input')); }"
        )
        _ready(page, "seed 4. Click")
        page.fill("#count", "11")
        with page.expect_download() as download:
            page.click("#download button")
        assert download.value.suggested_filename == f"{MODEL}-synthetic-seed-4.zip"
        made = zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes()))
        assert made.testzip() is None
        got = {name: made.read(name) for name in made.namelist()}
        assert got.keys() == files.keys()
        assert got["manifest.jsonl"] == files["manifest.jsonl"]
        for name in got.keys() - {"manifest.jsonl"}:
            one, other = (cv2.imdecode(np.frombuffer(f[name], np.uint8), 0) for f in (got, files))
            assert _same(one, other)
            assert encode_png(one, _texts(files[name])) == got[name]  # byte for byte

        page.click("#scans button >> nth=19")  # meningioma, index 3
        page.wait_for_function("() => document.querySelectorAll('#around button').length === 9")
        with page.expect_download() as download:
            page.click("#save")
        one = Path(download.value.path()).read_bytes()
        assert one == got["meningioma_tumor/000000003.png"]
        assert not wrong


@needs_script
@needs_chromium
def test_one_walks_among_latents_and_slides_between_two(page_file, browser):
    with opened(browser, page_file) as (page, wrong), ScanGenerator(MODEL) as generator:
        _ready(page)
        page.click("#scans button >> nth=0")
        page.wait_for_function("() => document.querySelectorAll('#others button').length === 4")
        z = Draw().latents(0, range(1), generator.card.latent)
        every = np.concatenate([generator.from_latents(z, name) for name in generator.classes])
        assert _same(_greys(page, "#others"), every)
        start = _greys(page, "#around")
        assert _same(start[4], every[0])
        page.click("#pin-a")
        page.keyboard.press("ArrowRight")
        _settled(page, "#around", "reached by walking")
        assert np.array_equal(_greys(page, "#around")[4], start[5])
        there = _greys(page, "#around")[1]
        page.click("#around button >> nth=1")
        _settled(page, "#around", "reached by walking")
        assert np.array_equal(_greys(page, "#around")[4], there)
        page.click("#pin-b")
        page.click("#close")
        _settled(page, "#between")
        a, middle, b = _greys(page, "#between")
        assert np.array_equal(a, start[4]) and np.array_equal(b, there)
        assert 0 < np.abs(middle.astype(int) - a).mean() < np.abs(b.astype(int) - a).mean()
        page.eval_on_selector(
            "#way", "at => { at.value = 1; at.dispatchEvent(new Event('input')); }"
        )
        _settled(page, "#between")
        assert np.array_equal(_greys(page, "#between")[1], b)
        assert not wrong


@needs_script
@needs_chromium
def test_each_other_control_does_what_it_says(page_file, browser):
    def slide(selector, value):
        page.eval_on_selector(
            selector, "(at, value) => { at.value = value; at.dispatchEvent(new Event('input')); }", value
        )  # fmt: skip

    with opened(browser, page_file) as (page, wrong), ScanGenerator(MODEL) as generator:
        _ready(page)
        slide("#seed-slider", 12)
        _ready(page, "seed 12. Click")
        assert page.input_value("#seed") == "12"
        assert _same(_greys(page, "#scans")[:16], generator.sample(16, 0, seed=12))
        page.click("#scans button >> nth=1")
        _settled(page, "#around", "seed 12, index 1")
        around = _greys(page, "#around")
        page.click("#turn")
        _settled(page, "#around")
        turned = _greys(page, "#around")
        assert np.array_equal(turned[4], around[4]) and not np.array_equal(turned[0], around[0])
        slide("#step", 1)
        _settled(page, "#around")
        far = np.abs(_greys(page, "#around").astype(int) - around[4]).mean(axis=(1, 2))
        near = np.abs(turned.astype(int) - around[4]).mean(axis=(1, 2))
        assert far[4] == near[4] == 0 and far.sum() > 1.5 * near.sum()
        others = _greys(page, "#others")
        page.click("#others button >> nth=2")
        _settled(page, "#around", "no_tumor, reached by walking")
        assert np.array_equal(_greys(page, "#around")[4], others[2])
        page.keyboard.press("Escape")
        assert page.is_hidden("#viewer")
        assert not wrong


@needs_script
@needs_npm
@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_anyone_out_at_any_width(page_file, browser, scheme):
    with opened(browser, page_file, color_scheme=scheme) as (page, _):
        _ready(page)
        for width in (360, 1200, 2560):
            page.set_viewport_size({"width": width, "height": 900})
            assert barriers(page) == []
            page.click("#scans button >> nth=2")
            page.wait_for_function("() => document.querySelectorAll('#others button').length === 4")
            assert barriers(page) == []
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            page.keyboard.press("Escape")
            page.wait_for_selector("#viewer:not([open])", state="attached")


@needs_script
@needs_chromium
def test_a_seed_that_is_none_is_refused(page_file, browser):
    with opened(browser, page_file) as (page, wrong):
        _ready(page)
        for seed in ("-1", "18446744073709551616", "ten", ""):
            page.fill("#seed", seed)
            _ready(page, "A seed is a whole number from 0 to 2^64 - 1.")
            assert page.is_hidden("#more")  # there are no more scans of such a seed
            page.fill("#seed", "7")
            _ready(page, "seed 7. Click")
            assert page.is_visible("#more")
        assert not wrong


@needs_script
@needs_chromium
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace('"sha256": "', '"sha256": "0'), "model in this page is damaged"),
        (lambda text: re.sub(r'(id="model">.{5000}).{8}', r"\1AAAAAAAA", text), "model in this page is damaged"),
        (lambda text: re.sub(r'(id="runtime">.{5000}).{8}', r"\1AAAAAAAA", text), "model in this page is damaged"),
    ],
)  # fmt: skip
def test_a_damaged_page_says_so_and_shows_nothing(page_file, browser, tmp_path, change, says):
    text = page_file.read_text("utf-8")
    other = tmp_path / "other.html"
    other.write_text(change(text), "utf-8")
    assert other.read_text("utf-8") != text
    with opened(browser, other) as (page, _):
        _ready(page, says)
        page.wait_for_timeout(100)
        assert page.locator("#scans canvas").count() == 0


@needs_script
@needs_chromium
def test_a_script_that_is_not_the_pages_does_not_run(page_file, browser, tmp_path):
    other = tmp_path / "other.html"
    other.write_text(
        page_file.read_text("utf-8").replace("\n<script>", "\n<script>let x;"), "utf-8"
    )
    with opened(browser, other) as (page, wrong):
        page.wait_for_load_state()
        assert any("Content Security Policy" in each for each in wrong)
        assert page.inner_text("#status") == "Opening the model…"


@needs_script
@needs_chromium
@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("delete window.DecompressionStream", "Firefox 113"),
        ("WebAssembly.validate = () => false", "it lacks WebAssembly SIMD. Chrome and Edge 115"),
        ("Object.defineProperty(window, 'isSecureContext', {value: false})", "over https"),
    ],
)
def test_an_old_browser_is_told_which_version_does(page_file, browser, missing, says):
    with browser.new_context() as context:
        page = context.new_page()
        page.add_init_script(missing)
        page.goto(page_file.as_uri())
        _ready(page, says)


@needs_script
def test_names_and_figures_of_a_card_cannot_become_markup():
    file = open_model(MODEL, Device("cpu", CPU))
    evil = '</script><script>alert(1)</script>"&'
    object.__setattr__(file.card, "classes", (evil, "b", "c", "d"))
    object.__setattr__(file.card, "license", evil)
    text = demo.demo_page(file, evil)
    assert "<script>alert" not in text and text.count("</script>") == 4
    assert json.loads(re.search(r'id="facts">(.*?)</script>', text)[1])["classes"][0] == evil


@needs_script
def test_the_runtime_is_what_was_built_and_small():
    assert (demo.BUILT / "runtime.wasm.gz").stat().st_size + demo.SCRIPT.stat().st_size < 4.5e6
    assert gzip.decompress((demo.BUILT / "runtime.wasm.gz").read_bytes())[:4] == b"\0asm"


def _refused(*words):
    done = CliRunner().invoke(main_of("scangan"), ["demo", *map(str, words)])
    assert done.exit_code != 0
    return done.output.strip()


def test_an_output_that_exists_or_is_no_page_is_refused(tmp_path):
    out = tmp_path / "page.html"
    out.write_text("mine")
    assert f"{out} exists; choose another --out, or --force" in _refused(MODEL, "-o", out)
    assert out.read_text() == "mine"
    assert "a page is an HTML file" in _refused(MODEL, "-o", tmp_path / "page.png")
    assert "no such model file" in _refused("nothing", "-o", tmp_path / "a.html")


def test_without_the_script_one_line_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "BUILT", tmp_path)
    said = _refused(MODEL, "-o", tmp_path / "new" / "a.html")
    assert (
        said.count("\n") == 0
        and "install scangan from a wheel, or install npm, run `make web`" in said
    )
    assert not (tmp_path / "new").exists()
