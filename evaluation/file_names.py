"""The names of the files that evaluations write."""

from scangan.artifacts.suspects import SUSPECTS

RESULT = "result.json"
PICTURE = "suspects.png"
HTML, MARKDOWN, PLOTS = "report.html", "report.md", "plots"
WRITTEN = frozenset((RESULT, PICTURE, SUSPECTS, HTML, MARKDOWN, PLOTS))
# Each evaluation, and a field that only its result has.
FIELDS = {"quality": "spaces", "utility": "diets", "privacy": "threshold", "report": "judgement"}
