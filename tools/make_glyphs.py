"""Draw printable ASCII once, as ``core/glyphs.npy``, so that contact sheets need no font at run time.

The font is Aileron by Sora Sagano (CC0 1.0), as Pillow carries it:

    pip install pillow
    python tools/make_glyphs.py
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

TARGET = Path(__file__).parent.parent / "core/glyphs.npy"
HEIGHT, WIDTH, POINTS = 18, 16, 14


def main() -> None:
    font = ImageFont.load_default(POINTS)
    glyphs = []
    for code in range(32, 127):
        cell = Image.new("L", (WIDTH, HEIGHT))
        ImageDraw.Draw(cell).text((0, 0), chr(code), font=font, fill=255)
        glyphs.append(np.asarray(cell))
    np.save(TARGET, np.stack(glyphs))
    print(f"{TARGET}: {len(glyphs)} glyphs of {HEIGHT}x{WIDTH}")


if __name__ == "__main__":
    main()
