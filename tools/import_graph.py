"""Draw who imports whom: the folders, and the files inside each folder, as one SVG.

Each stands above all that it imports, so every arrow leads down; imports in a circle are an error.
"""

import argparse
import graphlib
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

import grimp
import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[1]


def folders():
    """The folders, as the import contracts name them."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return [name.split(".")[1] for name in config["tool"]["importlinter"]["root_packages"]]


def imports(names):
    """All imports between files, as pairs of module names without ``scangan.``."""
    packages = [f"scangan.{name}" for name in names]
    graph = grimp.build_graph(*packages, cache_dir=None, exclude_type_checking_imports=True)
    return {
        (importer.removeprefix("scangan."), imported.removeprefix("scangan."))
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
    }, {name.removeprefix("scangan.") for name in graph.modules}


def levels(nodes, edges):
    """Each node's height over the deepest that it imports; raises graphlib.CycleError on a circle."""
    below = defaultdict(set)
    for importer, imported in edges:
        below[importer].add(imported)
    order = graphlib.TopologicalSorter({node: below[node] for node in nodes}).static_order()
    height = {}
    for node in order:
        height[node] = 1 + max((height[other] for other in below[node]), default=-1)
    return height


def place(nodes, edges):
    """Where each node stands: rows by height, each row in the order that crosses few edges."""
    rows = defaultdict(list)
    for node, height in sorted(levels(nodes, edges).items()):
        rows[height].append(node)
    at = {}
    for height in sorted(rows):
        below = {
            node: [at[imported][0] for importer, imported in edges if importer == node]
            for node in rows[height]
        }
        middle = {node: sum(xs) / len(xs) if xs else 0.5 for node, xs in below.items()}
        ordered = sorted(rows[height], key=lambda node: (middle[node], node))
        for place, node in enumerate(ordered):
            at[node] = ((place + 0.5) / len(ordered), height)
    return at


def draw(axes, title, nodes, edges):
    """Draw one graph."""
    at = place(nodes, edges)
    tall = 1 + max((y for _, y in at.values()), default=0)
    axes.set(title=title, xlim=(0, 1), ylim=(-0.5, tall - 0.5))
    axes.axis("off")
    for importer, imported in sorted(edges):
        (x0, y0), (x1, y1) = at[importer], at[imported]
        axes.annotate(
            "", (x1, y1 + 0.12), (x0, y0 - 0.12),
            arrowprops={"arrowstyle": "-|>", "color": "#8a94a0", "lw": 0.6, "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip
    for node, (x, y) in at.items():
        axes.text(x, y, node, ha="center", va="center", fontsize=7,
                  bbox={"boxstyle": "round,pad=0.25", "fc": "white", "ec": "#3b6ea5", "lw": 0.8})  # fmt: skip


def main():
    """Draw, and say how many imports there are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    names = folders()
    between, modules = imports(names)
    folder_edges = {(a.split(".")[0], b.split(".")[0]) for a, b in between}
    graphs = [("folders", set(names), {(a, b) for a, b in folder_edges if a != b})]
    for name in names:
        inside = {
            (a.partition(".")[2], b.partition(".")[2])
            for a, b in between
            if a.startswith(f"{name}.") and b.startswith(f"{name}.")
        }
        files = {module.partition(".")[2] for module in modules if module.startswith(f"{name}.")}
        graphs.append((f"{name}/", files, inside))
    try:
        tall = [1 + max(levels(nodes, edges).values(), default=0) for _, nodes, edges in graphs]
    except graphlib.CycleError as error:
        sys.exit(f"imports in a circle: {' -> '.join(error.args[1])}")
    figure, axes = plt.subplots(
        len(graphs), figsize=(20, sum(tall) * 0.9), height_ratios=tall, layout="constrained"
    )
    for each, graph in zip(axes, graphs, strict=True):
        draw(each, *graph)
    figure.savefig(out)
    files = sum(len(nodes) for _, nodes, _ in graphs[1:])
    print(f"{files} files, {len(between)} imports, none in a circle: {out}")


if __name__ == "__main__":
    main()
