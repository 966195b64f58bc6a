"""Run the command of this folder: ``python -m scangan.export``."""

from scangan.export.cli import main

if __name__ == "__main__":
    main()
