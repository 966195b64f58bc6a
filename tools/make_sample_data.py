"""Make the real scans of ``tests/data`` from copies of public sets (see the SOURCE.md beside them).

python tools/make_sample_data.py brain_mri path/to/brain_mri_sartaj/train
python tools/make_sample_data.py chest_xray path/to/chest_xray_kermany/train
"""

import re
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

DATA = Path(__file__).parent.parent / "tests/data"
JPEG_QUALITY = 90
PERSON = re.compile(r"person\d+|(NORMAL2-)?IM-\d+")  # as in person12_bacteria_34.jpeg


class Sample(NamedTuple):
    """How many scans of each class, and their short side in pixels."""

    per_class: int
    short_side: int


SAMPLES = {"brain_mri": Sample(60, 128), "chest_xray": Sample(80, 64)}


def main(name: str, source: Path) -> None:
    rng, sample = np.random.default_rng(0), SAMPLES[name]
    for folder in sorted(p for p in source.iterdir() if p.is_dir()):
        (DATA / name / folder.name).mkdir(parents=True, exist_ok=True)
        files = one_of_each_person(sorted(folder.iterdir()))
        for i in sorted(rng.choice(len(files), sample.per_class, replace=False)):
            image = cv2.imread(str(files[i]), cv2.IMREAD_GRAYSCALE)
            assert image is not None, files[i]
            scale = min(1.0, sample.short_side / min(image.shape))
            side = (round(image.shape[1] * scale), round(image.shape[0] * scale))
            small = cv2.resize(image, side, interpolation=cv2.INTER_AREA)
            file = DATA / name / folder.name / f"{files[i].stem}.jpg"
            cv2.imwrite(str(file), small, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    size = sum(f.stat().st_size for f in (DATA / name).rglob("*.jpg"))
    print(f"{DATA / name}: {size / 1e6:.2f} MB")


def one_of_each_person(files: list[Path]) -> list[Path]:
    """Keep the first file of each person that a name tells; another name stands for itself."""
    first: dict[str, Path] = {}
    for file in files:
        told = PERSON.match(file.stem)
        first.setdefault(told[0] if told else file.stem, file)
    return list(first.values())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
