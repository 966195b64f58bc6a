"""The phantom of thyroid scintigraphy against what was published, and the folder that is written."""

import dataclasses
import json
import math

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from programs import main_of

from scangan.core.errors import PreprocessingError
from scangan.preprocessing import PrepOptions, phantom, prepare
from scangan.preprocessing.phantom import (
    KINDS,
    SIDE,
    draw_phantom,
    phantom_counts,
    write_phantoms,
)

FEW = dict.fromkeys(KINDS, 2)


@pytest.fixture(scope="module")
def drawn():
    """Sixty phantoms of each class, as counts and truths."""
    return {name: [draw_phantom(name, 0, index) for index in range(60)] for name in KINDS}


def test_a_phantom_depends_on_its_arguments_alone():
    first, truth = draw_phantom("normal", 3, 5)
    again, same = draw_phantom("normal", 3, 5)
    assert np.array_equal(first, again) and truth == same
    for other in (("normal", 3, 6), ("normal", 4, 5), ("thyroiditis", 3, 5)):
        assert not np.array_equal(first, draw_phantom(*other)[0])
    assert first.shape == (SIDE, SIDE) and first.dtype == np.uint16


@pytest.mark.parametrize("name", KINDS)
def test_uptakes_and_volumes_are_within_what_was_published(name, drawn):
    truths, kind = [truth for _, truth in drawn[name]], KINDS[name]
    mean, _, least, most = kind.uptake
    uptakes = [truth.uptake for truth in truths]
    assert least <= min(uptakes) and max(uptakes) <= most
    assert 0.6 * mean < np.mean(uptakes) < 1.4 * mean
    assert 0.8 * kind.volume[0] < np.mean([t.volume for t in truths]) < 1.2 * kind.volume[0]
    nodules = [truth.nodule for truth in truths]
    assert all(30 <= each <= 55 for each in nodules) if kind.nodule else not any(nodules)


@pytest.mark.parametrize("mean", [1.5, 10.6])
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_a_log_normal_draw_has_the_mean_and_deviation_that_are_asked_for(mean, share):
    rng = np.random.default_rng(0)
    draws = [phantom._log_normal(rng, mean, share * mean) for _ in range(20_000)]
    assert np.mean(draws) == pytest.approx(mean, rel=0.03)
    assert np.std(draws) == pytest.approx(share * mean, rel=0.1)


def test_an_ellipsoid_has_the_volume_of_its_axes():
    canvas = phantom._Canvas(np.random.default_rng(0))
    for degrees in (0, 25):
        thick = canvas.ellipsoid((10, -5), (50, 20, 12), degrees)
        assert thick.sum() * canvas.step**2 == pytest.approx(math.pi / 6 * 50 * 20 * 12, rel=0.01)


@pytest.mark.parametrize("name", ["normal", "diffuse_hyperthyroid"])
def test_a_gland_has_the_volume_that_the_truth_tells(name):
    kind = dataclasses.replace(KINDS[name], patchy=0.0)
    ratios = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        canvas = phantom._Canvas(rng)
        thick, volume, _ = phantom._gland(canvas, rng, kind, kind.volume[0])
        assert thick.sum() * canvas.step**2 / 1000 == pytest.approx(volume)
        ratios.append(volume / kind.volume[0])
    assert 0.95 < np.mean(ratios) < 1.2  # isthmus and pyramidal lobe come on top


@pytest.mark.parametrize("name", KINDS)
def test_counts_are_those_of_the_activity(name, drawn):
    """Of the gland: activity, sensitivity, attenuation and time; all else adds to it."""
    for counts, truth in drawn[name]:
        want = 185 * truth.uptake / 100 * 91 * math.exp(-0.3) * 300
        assert truth.gland_counts == pytest.approx(want, rel=1e-3, abs=1)
        assert truth.counts == counts.sum() > truth.gland_counts


def test_noise_is_that_of_counting():
    """Where the activity is smooth, neighbours differ by as much as Poisson counts do."""
    ratios = []
    for index in range(20):
        counts = draw_phantom("thyroiditis", 1, index)[0].astype(float)
        shoulders = counts[-6:, 20:44]
        difference = shoulders[:, 1:] - shoulders[:, :-1]
        ratios.append(difference.var() / 2 / shoulders.mean())
    assert 0.9 < np.mean(ratios) < 1.15


def test_lobes_lie_on_both_sides_lean_outwards_and_salivary_glands_above(drawn):
    mean = np.mean([counts for counts, _ in drawn["normal"]], axis=0)
    gland, above = mean[36:52], mean[8:28]
    left, middle, right = (part.mean() for part in np.split(gland[:, 20:44], [9, 15], axis=1))
    assert left > middle < right and left == pytest.approx(right, rel=0.15)
    apart = np.abs(np.arange(SIDE) - SIDE / 2 + 0.5)[18:46]
    top, bottom = (
        np.average(apart, weights=rows.mean(0) - rows.mean(0).min())
        for rows in (mean[36:40, 18:46], mean[46:50, 18:46])
    )
    assert top > bottom + 0.5
    assert min(above[:, :20].max(), above[:, 44:].max()) > 1.3 * np.median(above)


def test_hot_glands_are_hotter_and_a_nodule_outshines_the_rest(drawn):
    gland = {name: np.median([truth.gland_counts for _, truth in drawn[name]]) for name in KINDS}
    order = "thyroiditis", "normal", "toxic_nodule", "diffuse_hyperthyroid"
    assert sorted(gland, key=gland.get) == list(order)
    for counts, truth in drawn["toxic_nodule"]:
        y, x = np.unravel_index(counts.argmax(), counts.shape)
        if truth.uptake > 1.5:
            assert 24 < y < 60 and 14 < x < 50
    sides = [
        counts[30:58, :32].sum() > counts[30:58, 32:].sum() for counts, _ in drawn["toxic_nodule"]
    ]
    assert 15 < sum(sides) < 45


def test_classes_are_shared_out_as_in_the_clinic():
    assert phantom_counts(209) == {name: kind.patients for name, kind in KINDS.items()}
    assert all(sum(phantom_counts(n).values()) == n for n in (4, 5, 8, 13, 600, 12_345))
    assert min(phantom_counts(4).values()) == 1


def test_the_folder_holds_scans_of_classes_and_their_truth(tmp_path):
    out = tmp_path / "phantoms"
    write_phantoms(out, FEW, 7)
    names = sorted(path.name for path in out.iterdir())
    assert names == sorted([*KINDS, "phantoms.json", "truth.jsonl"])
    lines = [json.loads(line) for line in (out / "truth.jsonl").open()]
    assert len(lines) == 8
    for line in lines:
        with Image.open(out / line["file"]) as image:
            assert image.mode == "I;16" and image.text["Comment"].startswith("Simulated")
            pixels = np.asarray(image)
        index = int(line["file"][-10:-4])
        assert np.array_equal(pixels, draw_phantom(line["class"], 7, index)[0])
        assert line["counts"] == pixels.sum()
    dataset = prepare(out, tmp_path / "prepared", PrepOptions(size=64))
    assert dataset.counts == FEW


def test_a_killed_call_is_finished_by_the_same_call(tmp_path):
    def killed(_):
        if len(list((tmp_path / "a").rglob("*.png"))) > 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantoms(tmp_path / "a", FEW, 0, killed)
    assert not (tmp_path / "a/truth.jsonl").exists()
    (tmp_path / "a/.truth.jsonl.part").write_text("half")
    with pytest.raises(PreprocessingError, match="is not finished; run make-phantoms again"):
        prepare(tmp_path / "a", tmp_path / "prepared", PrepOptions(size=64))
    for counts, seed in ((FEW, 1), ({"normal": 2}, 0)):
        with pytest.raises(PreprocessingError, match="phantoms of another seed or count"):
            write_phantoms(tmp_path / "a", counts, seed)
    for name in "ab":
        write_phantoms(tmp_path / name, FEW, 0)
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*")]
    assert len(files) == 10
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_nothing_else_is_written_over(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(PreprocessingError, match=r"holds something else \(notes.txt\)"):
        write_phantoms(tmp_path, FEW, 0)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut/phantoms.json").write_text('{"see')
    with pytest.raises(PreprocessingError, match="phantoms of another seed or count"):
        write_phantoms(tmp_path / "cut", FEW, 0)
    (tmp_path / "scans/normal").mkdir(parents=True)
    (tmp_path / "scans/normal/000000.png").write_bytes(b"a patient's")
    with pytest.raises(PreprocessingError, match=r"holds something else \(normal\)"):
        write_phantoms(tmp_path / "scans", FEW, 0)
    assert (tmp_path / "scans/normal/000000.png").read_bytes() == b"a patient's"
    with pytest.raises(PreprocessingError, match="is a file"):
        write_phantoms(tmp_path / "notes.txt", FEW, 0)
    assert write_phantoms(tmp_path / "out", {"normal": 1}, 0)
    assert not write_phantoms(tmp_path / "out", {"normal": 1}, 0)  # they are all there
    (tmp_path / "out/normal/000000.png").unlink()
    assert write_phantoms(tmp_path / "out", {"normal": 1}, 0)
    assert (tmp_path / "out/normal/000000.png").exists()
    with pytest.raises(PreprocessingError, match="holds phantoms of another seed or count"):
        write_phantoms(tmp_path / "out", {"normal": 1}, 1)


def test_the_command_says_what_it_made(tmp_path):
    run, out = CliRunner().invoke, tmp_path / "out"
    done = run(main_of("make-phantoms"), [str(out), "--count", "8"])
    assert done.exit_code == 0
    assert done.output.splitlines()[-1] == (
        f"8 simulated scans (4 diffuse_hyperthyroid, 2 normal, 1 thyroiditis, 1 toxic_nodule): {out}"
    )
    again = run(main_of("make-phantoms"), [str(out), "--count", "8"])
    assert again.exit_code == 0 and "1 toxic_nodule), already there: " in again.output
    other = run(main_of("make-phantoms"), [str(out)])
    assert other.exit_code == 1 and "choose another OUT" in other.output
    assert run(main_of("make-phantoms"), [str(tmp_path / "b"), "--count", "3"]).exit_code == 2
    told = run(main_of("make-phantoms"), [str(tmp_path / "c"), "--count", "4", "--json"])
    assert json.loads(told.stdout)["counts"] == dict.fromkeys(KINDS, 1)
