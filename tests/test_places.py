"""No command writes into the folder of scans that it reads: the next one would take it for scans."""

from pathlib import Path

import pytest
from test_advice import TRAIN, images, refused, works

COMMANDS = {
    "prep-scans": "prep-scans scans {out} --size 16",
    "prep-scans --split": "prep-scans scans {out} --size 16 --split 0.6,0.4",
    "train-gan": f"train-gan scans --out {{out}} --size 16 {TRAIN}",
    "gen-scans --balance": "gen-scans --model {model} --balance scans --target 12 --out {out}",
}
PLACES = ["scans", "scans/out", "scans/cat", "scans/cat/deep/out", "elsewhere/../scans/out",
          "link/out", "link"]  # fmt: skip


def listed(folder):
    return sorted(str(path) for path in folder.rglob("*"))


@pytest.fixture
def scans(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("cat", "dog", "2"):
        images(Path("scans") / name)
    Path("elsewhere").mkdir()
    Path("link").symlink_to("scans")
    return tmp_path


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("place", PLACES)
def test_an_output_inside_the_scans_is_refused(name, place, scans, tiny_acgan):
    before = listed(scans)
    says = refused(COMMANDS[name].format(out=place, model=tiny_acgan))
    assert "choose " in says and "inside" in says
    assert place in says or str(Path(place).resolve()) in says
    assert listed(scans) == before


@pytest.mark.parametrize("place", ["scans/out", "link/out"])
def test_with_a_table_of_labels_too(place, scans):
    Path("t.csv").write_text("file,class\n" + "".join(f"cat/{i}.png,a\n" for i in range(10)))
    assert "inside" in refused(f"prep-scans scans {place} --size 16 --labels t.csv --quiet")


@pytest.mark.parametrize("name", ["prep-scans", "gen-scans --balance"])
def test_a_second_output_beside_the_first_finds_the_same_scans(name, scans, tiny_acgan):
    for out in ("one", "two"):
        works(COMMANDS[name].format(out=out, model=tiny_acgan))
    one, two = (listed(scans / out) for out in ("one", "two"))
    assert len(one) == len(two) > 3
    assert works(COMMANDS["prep-scans"].format(out="three")).count("30 scans prepared") == 1
