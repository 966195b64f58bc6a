"""Write the last networks of a run into the starting weights that come with scangan.

    python tools/make_starting_weights.py RUN NAME

They are there for `train-gan --start-from NAME`, in float16 and without the list of scans.
"""

import dataclasses
import sys

import torch
from msgspec import structs

from scangan.training.bundled_weights import bundled_file
from scangan.training.starting_weights import read_starting_weights, write_weights_file


def main() -> None:
    run, name = sys.argv[1:]
    weights = read_starting_weights(run)
    file = bundled_file(name)
    file.parent.mkdir(exist_ok=True)
    told = structs.replace(weights.told, name=name)
    write_weights_file(dataclasses.replace(weights, told=told), file, torch.float16)
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB, after {weights.told.kimg:g} kimg")


if __name__ == "__main__":
    main()
