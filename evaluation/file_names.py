"""The names of files that more than one evaluation writes or looks for."""

RESULT = "result.json"
PICTURE = "suspects.png"
