"""Run the command of this folder: ``python -m scangan.runtime``."""

from scangan.runtime.cli import main

if __name__ == "__main__":
    main()
