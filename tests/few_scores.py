"""Lets ``train-gan`` score few scans at a tick: that takes most of the time of a tiny run.

Run it in place of ``python -m scangan.cli train`` where a process of its own is the point.
"""

FEW = {"PER_TICK": 8, "FOR_ONE_CLASS": 16}


def score_few(change=setattr):
    """Set, or let a monkeypatch set, how many scans training scores."""
    import scangan.training.scoring

    for name, count in FEW.items():
        change(scangan.training.scoring, name, count)


if __name__ == "__main__":
    score_few()
    from scangan.cli.programs import train_gan

    train_gan()
