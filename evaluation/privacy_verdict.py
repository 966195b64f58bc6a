"""Say in plain English what the evidence of a privacy evaluation supports."""

from collections.abc import Sequence

from scangan.core.counted import counted
from scangan.evaluation.privacy_result import BLIND, Attack, Level, Threshold

GOOD = 0.95  # share of planted copies that should be found
# An attack counts as better than guessing below this p-value, so that six looks (three attacks by two
# measures) find a leak where there is none in one evaluation of twenty.
SURE = 0.05 / 6
NAMES = {
    "features": "the distance to the nearest synthetic scan in feature space",
    "pixels": "the similarity to the nearest synthetic scan",
    "discriminator": "the discriminator's score",
}
LIMITS = (
    "A distance test alone proves nothing: it finds near copies, not every trace of a scan "
    "(arXiv 2505.01524). No result here proves that the scans are anonymous."
)


def verdict(
    scans: int,
    suspects: tuple[int, int],
    limit: Threshold,
    levels: Sequence[Level],
    attacks: dict[str, Attack],
) -> tuple[str, ...]:
    """Put suspects, sensitivity and membership inference into a few sentences.

    Parameters
    ----------
    scans : int
        Number of synthetic scans.
    suspects : (int, int)
        How many are suspect, and how many would be by chance at most.
    limit, levels, attacks
        See `PrivacyResult`.
    """
    return _copies(scans, suspects, limit), _search(levels), _membership(attacks), LIMITS


def _copies(scans: int, suspects: tuple[int, int], limit: Threshold) -> str:
    real = (
        "a hold-out scan"
        if limit.calibrated_on == "holdout"
        else "a training scan of another subject or group"
    )
    found, chance = suspects
    if not found:
        return f"None of {counted(scans, 'synthetic scan')} is more similar to a training scan than {real} is."
    verb = "is" if found == 1 else "are"
    return (
        f"{found} of {counted(scans, 'synthetic scan')} {verb} more similar to a training scan than "
        f"{real} usually is{_by_chance(found, chance)}: look at the pairs, and leave these scans out."
    )


def _by_chance(found: int, chance: int) -> str:
    if not chance:
        return ""
    if found > chance:
        return f", and by chance it would be {chance} at most"
    return f", which may be chance (without any copying, it can be up to {chance})"


def _search(levels: Sequence[Level]) -> str:
    found, planted = sum(each.found for each in levels), sum(each.planted for each in levels)
    text = f"Of {planted} planted copies of training scans, {found} were found."
    missed = [
        f"{each.change} ({each.found} of {each.planted})"
        for each in levels
        if each.found < GOOD * each.planted
    ]
    return (
        f"{text} Copies with these changes can be missed: {', '.join(missed)}." if missed else text
    )


def _membership(attacks: dict[str, Attack]) -> str:
    tried = {name: each for name, each in attacks.items() if name != BLIND}
    if not tried:
        return "Membership inference was not tested."
    told = [
        f"by {NAMES[name]} (AUC {each.auc:.2f}, {each.auc_low:.2f} to {each.auc_high:.2f}; "
        f"{each.tpr:.0%} found at 1% false positives)"
        for name, each in tried.items()
        if beats_guessing(each)
    ]
    if not told:
        tests = (
            f"{NAMES[name]} (AUC {each.auc:.2f}, {each.auc_low:.2f} to {each.auc_high:.2f})"
            for name, each in tried.items()
        )
        return (
            f"No attack told training scans from others better than guessing: {'; '.join(tests)}."
        )
    which = "; ".join(told)
    if BLIND in attacks and beats_guessing(attacks[BLIND]):
        return (
            f"Training scans can be told from the hold-out {which}. But a classifier that knows no "
            f"synthetic scan can also tell them apart (AUC {attacks[BLIND].auc:.2f}): the hold-out differs "
            f"in other ways, so this is no evidence of membership. Use a hold-out from the same source."
        )
    return f"An attacker can tell training scans from others better than by guessing: {which}."


def beats_guessing(attack: Attack) -> bool:
    """Whether an attack did better than guessing."""
    return min(attack.p_auc, attack.p_tpr) < SURE
