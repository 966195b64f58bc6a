"""Files that broke a promise, each kept with its symptom and the line that repeats it."""

import hashlib
import traceback
from pathlib import Path


def symptom(error):
    """What went wrong and where, and how it looked this time: two texts of one line.

    The first is the same for all files with the same fault.
    """
    frames = traceback.extract_tb(error.__traceback__)
    where = next((f for f in reversed(frames) if "scangan" in Path(f.filename).parts), frames[-1])
    what = f"{type(error).__name__} {getattr(error, 'what', '')}".strip()
    same = f"{what} in {where.filename.rpartition('scangan/')[2]}, {where.name}"
    # Behind a reason that names an exception: where that one came from.
    cause = error.__context__.__cause__ if error.__context__ else None
    if cause is not None:
        inner, _ = symptom(cause)
        same = f"{what} < {inner}"
    return same, " ".join(f"{same}: {error}".split())[:300]


def keep(folder, kind, data, same, told):
    """Save a file under its symptom; whether that is a new one. Of several, the shortest is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{kind}-{hashlib.sha256(same.encode()).hexdigest()[:10]}"
    new = not path.exists()
    if new or path.stat().st_size > len(data):
        path.write_bytes(data)
        again = f"make fuzz READER={kind} REPEAT={path}"
        path.with_suffix(".txt").write_text(f"{told}\nrepeat: {again}\n")
    return new
