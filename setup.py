"""Map the top-level folders onto the namespace package ``scangan``; everything else is in pyproject.toml."""

from setuptools import find_packages, setup

FOLDERS = (
    "core", "artifacts", "preprocessing", "training", "export", "runtime", "evaluation", "cli"
)  # fmt: skip
packages = [f"scangan.{name}" for name in FOLDERS]
packages += [f"scangan.{name}.{sub}" for name in FOLDERS for sub in find_packages(name)]
setup(packages=packages, package_dir={f"scangan.{name}": name for name in FOLDERS})
