"""A privacy evaluation as lines for the terminal."""

from collections.abc import Iterator

from scangan.evaluation.privacy_result import Attack, PrivacyResult

ATTACKS = {
    "features": "by distance in feature space",
    "pixels": "by similarity to synthetic scans",
    "discriminator": "by the discriminator",
    "blind": "by a classifier that knows no synthetic scan",
}


def privacy_lines(result: PrivacyResult) -> Iterator[str]:
    """Describe a result in a few lines."""
    found = [f"{each.change} {each.found}/{each.planted}" for each in result.sensitivity]
    yield f"planted copies found: {', '.join(found)}"
    for name, near in result.nearness.items():
        yield (
            f"nearer than the hold-out's first percentile, in {name}: {near.share:.1%} "
            f"(by chance {near.low:.1%} to {near.high:.1%})"
        )
    for name, attack in result.membership.items():
        yield f"membership {ATTACKS[name]}: {_attack(attack)}"
    yield from result.notes
    yield " ".join(result.verdict)


def _attack(attack: Attack) -> str:
    return (
        f"AUC {attack.auc:.2f} ({attack.auc_low:.2f} to {attack.auc_high:.2f}), true positives at 1% "
        f"false positives {attack.tpr:.1%} ({attack.tpr_low:.1%} to {attack.tpr_high:.1%})"
    )
