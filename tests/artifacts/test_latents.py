"""Latents: known answers, and the slow twin."""

import dataclasses
import re
from pathlib import Path

import naive
import numpy as np
import pytest

from scangan.artifacts.latents import Draw, draw_latents, normals_of
from scangan.core.errors import GenerationError


def test_the_slow_twin_is_philox():
    # Known answers that come with Random123 (Salmon et al. 2011), philox4x64-10.
    assert naive.philox4x64((0,) * 4, (0,) * 2) == [
        0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B,
    ]  # fmt: skip
    ones = 2**64 - 1
    assert naive.philox4x64((ones,) * 4, (ones,) * 2) == [
        0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0,
    ]  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**64 - 1])
@pytest.mark.parametrize("label", [0, 3])
@pytest.mark.parametrize("index", [0, 1, 2**32, 2**63 - 1])
@pytest.mark.parametrize("length", [1, 4, 5, 100])
def test_latents_are_the_slow_twins(seed, label, index, length):
    got = draw_latents(seed, label, range(index, index + 1), length)[0]
    np.testing.assert_allclose(got, naive.latent(seed, label, index, length), rtol=1e-6, atol=1e-7)


def _documented():
    page = (Path(__file__).parents[2] / "docs/model-format.md").read_text()
    table = page[page.index("Known answers") :]
    for row in re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| (.*) \|$", table, re.MULTILINE):
        yield tuple(map(int, row[:3])), [float(v) for v in row[3].split(",")]


def test_latents_are_those_of_the_documentation():
    # Changing them changes every scan ever made.
    rows = list(_documented())
    assert len(rows) == 4
    for (seed, label, index), want in rows:
        got = draw_latents(seed, label, range(index, index + 1), 6)[0]
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_a_latent_depends_on_its_own_index_alone():
    together = draw_latents(3, 1, range(100), 10)
    for indices in (range(50, 60), np.array([99, 0, 7]), range(7, 8)):
        assert np.array_equal(draw_latents(3, 1, indices, 10), together[np.array(indices)])


def test_classes_seeds_and_indices_draw_different_latents():
    draws = [draw_latents(s, k, range(2), 8) for s in (0, 1) for k in (0, 1)]
    assert len({row.tobytes() for draw in draws for row in draw}) == 8


def test_a_longer_latent_starts_with_the_shorter():
    assert np.array_equal(
        draw_latents(0, 0, range(5), 33)[:, :10], draw_latents(0, 0, range(5), 10)
    )


def test_latents_are_standard_normal():
    z = draw_latents(0, 0, range(2000), 100)
    assert abs(z.mean()) < 0.01 and abs(z.std() - 1) < 0.01
    assert abs((z**4).mean() - 3) < 0.1
    assert np.abs(np.corrcoef(z.T) - np.eye(100)).max() < 0.12
    assert z.dtype == np.float32


def test_the_extremes_of_the_raw_bits_are_finite():
    words = np.array([[0, 0, 2**64 - 1, 2**64 - 1]], np.uint64)
    normals = normals_of(words)
    assert np.isfinite(normals).all()
    assert normals[0, 0] == pytest.approx(np.sqrt(-2 * np.log(2.0**-53)))


def test_a_draw_has_these_defaults_and_takes_these_values():
    draw = Draw()
    assert (draw.seed, draw.truncation, draw.paired) == (0, 1.0, False)
    assert Draw(np.int64(3)) == Draw(3) and type(Draw(np.int64(3)).seed) is int
    assert Draw(2**64 - 1, 0.001).truncation == 0.001 and Draw(0, 2.0).truncation == 2.0
    for seed in (-1, 2**64, 0.5):
        with pytest.raises(GenerationError, match=r"^--seed .*2\^64 - 1") as error:
            Draw(seed)
        assert error.value.exit_code == 2
    for psi in (0.0009, 2.001, float("nan")):
        with pytest.raises(GenerationError, match=r"^--truncation .*0\.001 to 2") as error:
            Draw(0, psi)
        assert error.value.exit_code == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        draw.seed = 1
