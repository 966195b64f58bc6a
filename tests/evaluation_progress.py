"""Progress of an evaluation, kept to look at."""

import contextlib


class Progress:
    """A `Track` that keeps what was to do and what was done."""

    def __init__(self):
        self.shown, self.totals, self.done = [], [], []

    @contextlib.contextmanager
    def __call__(self, description, total, unit):
        self.shown.append(f"{description}: {unit}")
        self.totals.append(total)
        self.done.append(0)

        def advance(count):
            self.done[-1] += count

        yield advance
