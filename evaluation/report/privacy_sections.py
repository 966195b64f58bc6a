"""Privacy in a report."""

from collections.abc import Iterator, Sequence

from scangan.core.counted import counted
from scangan.evaluation.privacy_result import BLIND, Attack, Pair, PrivacyResult
from scangan.evaluation.privacy_text import ATTACKS
from scangan.evaluation.privacy_verdict import beats_guessing
from scangan.evaluation.report import plots
from scangan.evaluation.report.blocks import Block, Picture, Section, Table

LISTED = 50  # suspects


def privacy_sections(result: PrivacyResult, pairs: Sequence[Picture]) -> Iterator[Section]:
    """Describe a privacy evaluation.

    Parameters
    ----------
    result : PrivacyResult
        What it found.
    pairs : sequence of Picture
        Pairs of a synthetic and a training scan; empty where real scans are not shown.
    """
    blocks: list[Block] = [_threshold(result), plots.planted(result.sensitivity)]
    if result.membership:
        blocks.append(_membership(result.membership))
    if result.nearness:
        blocks.append(_nearness(result))
    yield Section("Privacy", result.verdict, tuple(blocks))
    if result.suspects:
        listed = result.suspects[:LISTED]
        title = f"Suspects: {counted(len(result.suspects), 'scan')}"
        yield Section(title, (), (*pairs, _suspects(listed)))
    elif pairs:
        text = "No suspects. These are the most similar pairs: synthetic left, training scan right."
        yield Section("Most similar pairs", (text,), tuple(pairs))


def verdict(result: PrivacyResult) -> str:
    """Say what was found, and that it is no proof."""
    found = sum(each.found for each in result.sensitivity)
    planted = sum(each.planted for each in result.sensitivity)
    chance = result.suspects_by_chance
    said = [
        f"{len(result.suspects)} of {counted(result.synthetic.scans, 'synthetic scan')} "
        f"{'is' if len(result.suspects) == 1 else 'are'} suspiciously similar to a training scan"
        + (f" (by chance, up to {chance})" if result.suspects and chance else ""),
        f"{found} of {planted} planted copies were found",
        _told(result.membership),
        "This does not prove that the scans are anonymous",
    ]
    return f"{'. '.join(said)}."


def _told(attacks: dict[str, Attack]) -> str:
    tried = {name: each for name, each in attacks.items() if name != BLIND}
    if not tried:
        return "Membership inference was not tested"
    if not any(map(beats_guessing, tried.values())):
        return "Membership inference did no better than guessing"
    if BLIND in attacks and beats_guessing(attacks[BLIND]):
        return (
            "Membership inference proves nothing: the hold-out can be told from the training scans without "
            "any synthetic one"
        )
    best = min(tried.values(), key=lambda each: min(each.p_auc, each.p_tpr))
    how = f"AUC {best.auc:.2f}"
    if best.p_tpr < best.p_auc:
        how = f"{best.tpr:.1%} found at 1% false positives"
    return f"An attacker tells training scans from others better than by guessing ({how})"


def _threshold(result: PrivacyResult) -> Table:
    limit = result.threshold
    rows = (
        ("a scan is suspect above a similarity of", f"{limit.similarity:.3f}"),
        ("calibrated on", f"{limit.scans} scans of {limit.groups} groups ({limit.calibrated_on})"),
        ("of these scans, it would call suspect", f"{limit.flagged:.2%}"),
        ("of subjects or groups, at most (95% confidence)", f"{limit.flagged_at_most:.2%}"),
        ("left out, as copies of training scans", str(limit.copies)),
        ("suspects by chance, at most (95% confidence)", str(result.suspects_by_chance)),
    )
    return Table("The search for copies", ("", ""), rows)


def _membership(attacks: dict[str, Attack]) -> Table:
    rows = tuple(
        (
            ATTACKS[name],
            f"{each.auc:.2f} ({each.auc_low:.2f} to {each.auc_high:.2f})",
            f"{each.tpr:.1%} ({each.tpr_low:.1%} to {each.tpr_high:.1%})",
            f"{each.members}, {each.non_members}",
        )
        for name, each in attacks.items()
    )
    columns = ("attack", "AUC (0.5 is guessing)", "found at 1% false positives", "members, others")
    return Table("Membership inference, with 95% intervals", columns, rows)


def _nearness(result: PrivacyResult) -> Table:
    rows = tuple(
        (name, f"{near.share:.1%}", f"{near.expected:.1%} ({near.low:.1%} to {near.high:.1%})",
         f"{near.median:.3g}", f"{near.holdout_median:.3g}")
        for name, near in result.nearness.items()
    )  # fmt: skip
    columns = (
        "distance in",
        "share of scans",
        "expected by chance",
        "median",
        "median of the hold-out",
    )
    caption = "Scans nearer to a training scan than 99% of the hold-out is; no evidence on its own"
    return Table(caption, columns, rows)


def _suspects(listed: Sequence[Pair]) -> Table:
    rows = tuple(
        (each.synthetic, each.class_name or "", each.train, f"{each.similarity:.3f}")
        for each in listed
    )
    columns = ("synthetic scan", "class", "training scan", "similarity")
    return Table(f"The {len(listed)} most similar", columns, rows)
