"""Run the command of this folder: ``python -m scangan.preprocessing``."""

from scangan.preprocessing.cli import main

if __name__ == "__main__":
    main()
