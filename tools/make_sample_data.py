"""Make ``tests/data/brain_mri`` from a copy of the brain MRI set (MIT; see the SOURCE.md written there).

python tools/make_sample_data.py path/to/brain_mri_sartaj/train
"""

import sys
from pathlib import Path

import cv2
import numpy as np

TARGET = Path(__file__).parent.parent / "tests/data/brain_mri"
PER_CLASS, SHORT_SIDE, JPEG_QUALITY = 60, 128, 90


def main(source: Path) -> None:
    rng = np.random.default_rng(0)
    for folder in sorted(p for p in source.iterdir() if p.is_dir()):
        (TARGET / folder.name).mkdir(parents=True, exist_ok=True)
        files = sorted(folder.iterdir())
        for i in sorted(rng.choice(len(files), PER_CLASS, replace=False)):
            image = cv2.imread(str(files[i]), cv2.IMREAD_GRAYSCALE)
            assert image is not None, files[i]
            scale = min(1.0, SHORT_SIDE / min(image.shape))
            side = (round(image.shape[1] * scale), round(image.shape[0] * scale))
            small = cv2.resize(image, side, interpolation=cv2.INTER_AREA)
            name = TARGET / folder.name / f"{files[i].stem}.jpg"
            cv2.imwrite(str(name), small, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    size = sum(f.stat().st_size for f in TARGET.rglob("*.jpg"))
    print(f"{TARGET}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
