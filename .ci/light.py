"""Generate with the installed wheel and show that nothing heavy was installed or imported."""

import importlib.util
import sys

from scangan.cli.generate import main

if main(["--count", "1", "--out", "light"], standalone_mode=False):
    sys.exit("generating failed")
installed = [n for n in ("torch", "onnx", "numba", "cv2", "sklearn") if importlib.util.find_spec(n)]
imported = sorted({"torch", "onnx", "numba"} & set(sys.modules))
if installed or imported:
    sys.exit(f"not light: installed {installed}, imported {imported}")
print("light: no torch, onnx, numba, OpenCV or scikit-learn installed or imported")
