"""Damage for the fuzzer that keeps checksums and lengths right, to reach the code behind them.

Each function takes a file, a `random.Random` and `mutate`, libFuzzer's own way to change bytes, and
gives another file. What it cannot take apart raises an error of any kind; the caller then lets libFuzzer
change the bytes as they are.
"""

import gzip
import struct
import zlib

WHOLE = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 64, 127, 128, 255, 256, 257, 1000, 4096,
         32_767, 32_768, 65_535, 65_536, 1 << 20, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1,
         1 << 32, (1 << 63) - 1, (1 << 64) - 1]  # fmt: skip
REAL = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 1e-7, 1e-30, 1e-45, 1e30, 3e38, 255.0, 65_535.0, -1000.0,
        float("inf"), float("-inf"), float("nan")]  # fmt: skip


def put(data, at, form, rng):
    """Set the field of a header to a value that is worth trying."""
    data = bytearray(data)
    if form[-1] in "fd":
        value = rng.choice(REAL)
    else:
        bits = 8 * struct.calcsize(form)
        value = rng.choice(WHOLE) & ((1 << bits) - 1)
        if form[-1].islower() and value >> (bits - 1):
            value -= 1 << bits
    struct.pack_into(form, data, at, value)
    return bytes(data)


def rearranged(parts, rng, mutate):
    """Leave out, repeat, swap or change one of the parts of a file: a list of (kind, bytes)."""
    parts, at, other = list(parts), rng.randrange(len(parts)), rng.randrange(len(parts))
    how = rng.choice(["drop", "repeat", "swap", "change", "change", "change"])
    if how == "drop":
        del parts[at]
    elif how == "repeat":
        parts.insert(other, parts[at])
    elif how == "swap":
        parts[at], parts[other] = parts[other], parts[at]
    else:
        parts[at] = (parts[at][0], mutate(parts[at][1]))
    return parts


def png(data, rng, mutate):
    """Chunks with right checksums, and image data that unpack."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    how = rng.choice(["header", "pixels", "both", "parts", "parts", "new"])
    if how in ("header", "both"):
        number = next(i for i, (kind, _) in enumerate(chunks) if kind == b"IHDR")
        chunks[number] = (b"IHDR", _png_header(chunks[number][1], rng))
    if how in ("pixels", "both"):
        raw = zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))
        raw = mutate(raw) if how == "pixels" else (raw * 3)[: rng.choice([10, 100, 9999, 99_999])]
        if rng.random() < 0.5:
            raw = bytes(byte % 5 for byte in raw)  # each may begin a row: the number of a filter
        first = next(i for i, (kind, _) in enumerate(chunks) if kind == b"IDAT")
        chunks = [part for part in chunks if part[0] != b"IDAT"]
        chunks.insert(first, (b"IDAT", zlib.compress(raw, 1)))
    if how == "parts":
        chunks = rearranged(chunks, rng, mutate)
    if how == "new":
        kind = rng.choice([b"tRNS", b"PLTE", b"eXIf", b"acTL", b"gAMA", b"pHYs", b"IHDR", b"IDAT"])
        body = rng.randbytes(rng.choice([0, 1, 2, 3, 6, 9, 13, 48, 256, 768]))
        body = b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0" + body if kind == b"eXIf" else body
        chunks.insert(rng.randrange(len(chunks)), (kind, body))
    framed = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def _png_header(body, rng):
    sides = [rng.choice([1, 2, 3, 7, 8, 9, 60, 100, 65_536, 1 << 20, 1 << 27]) for _ in "wh"]
    depth, colour = rng.choice([1, 2, 4, 8, 16, 3]), rng.choice([0, 2, 3, 4, 6, 1])
    old = list(struct.unpack(">IIBBBBB", body[:13]))
    new = [*sides, depth, colour, rng.choice([0, 0, 1]), rng.choice([0, 0, 1]), rng.randrange(3)]
    kept = [a if rng.random() < 0.6 else b for a, b in zip(old, new)]
    return struct.pack(">IIBBBBB", *kept)


def jpeg(data, rng, mutate):
    """Segments with right lengths, the image data after them."""
    segments, at = [], 2
    while not segments or segments[-1][0] != b"\xff\xda":
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        segments.append((data[at : at + 2], data[at + 4 : at + 2 + length]))
        at += 2 + length
        if length < 2:
            raise ValueError
    rest = data[at:]
    how = rng.choice(["frame", "parts", "parts", "new", "rest"])
    if how == "frame":
        frames = [i for i, (m, _) in enumerate(segments) if 0xC0 <= m[1] <= 0xCF and m[1] != 0xC4]
        number = rng.choice(frames)
        marker, body = segments[number]
        if rng.random() < 0.3:
            marker = b"\xff" + bytes([rng.choice([0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA, 0xF7])])
        at, form = rng.choice([(0, "B"), (1, ">H"), (3, ">H"), (5, "B"), (7, "B"), (8, "B")])
        segments[number] = (marker, put(body, at, form, rng))
    elif how == "parts":
        segments = rearranged(segments, rng, mutate)
    elif how == "new":
        marker = rng.choice([0xE0, 0xE1, 0xE2, 0xEE, 0xDD, 0xFE, 0xC4, 0xDB, 0xCC])
        start = rng.choice([b"", b"Exif\0\0MM\0*\0\0\0\x08", b"Adobe\0d\0\0\0\0", b"JFIF\0"])
        body = start + rng.randbytes(rng.choice([0, 1, 2, 6, 20]))
        segments.insert(rng.randrange(len(segments)), (b"\xff" + bytes([marker]), body))
    else:
        rest = mutate(rest)
    framed = (marker + struct.pack(">H", len(body) + 2) + body for marker, body in segments)
    return b"\xff\xd8" + b"".join(framed) + rest


TIFF_TAGS = [254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 282, 284, 296, 317, 320,
             322, 323, 324, 325, 338, 339, 347, 530, 32_997]  # fmt: skip
TIFF_VALUES = [5, 6, 7, 8, 12, 24, 32, 100, 32_773, 32_946, 50_000]  # compressions, among others


def tiff(data, rng, mutate):
    """An entry of a directory: its tag, type, count or value."""
    order, big = "<" if data[:2] == b"II" else ">", data[2:4] in (b"+\0", b"\0+")
    links = [8 if big else 4]
    entry, count, link = (20, "Q", "Q") if big else (12, "H", "I")
    directories = []
    while at := struct.unpack_from(order + link, data, links[-1])[0]:
        if at in directories or len(directories) > 9:
            break
        directories.append(at)
        entries = struct.unpack_from(order + count, data, at)[0]
        links.append(at + struct.calcsize(count) + entries * entry)
    at = rng.choice(directories)
    if rng.random() < 0.05:
        return put(data, rng.choice([at, rng.choice(links)]), order + rng.choice("HI"), rng)
    entries = struct.unpack_from(order + count, data, at)[0]
    at += struct.calcsize(count) + entry * rng.randrange(entries)
    how = rng.choice(["tag", "type", "count", "value", "value", "value", "value"])
    out = bytearray(data)
    if how == "tag":
        struct.pack_into(order + "H", out, at, rng.choice(TIFF_TAGS))
    elif how == "type":
        struct.pack_into(order + "H", out, at + 2, rng.choice([*range(14), 16, 17, 18]))
    elif how == "count":
        out = put(data, at + 4, order + link, rng)
    elif rng.random() < 0.5:
        out = put(data, at + (12 if big else 8), order + rng.choice("HI"), rng)
    else:
        struct.pack_into(order + "H", out, at + (12 if big else 8), rng.choice(TIFF_VALUES))
    return bytes(out)


BMP_FIELDS = [(10, "<I"), (14, "<I"), (18, "<i"), (22, "<i"), (26, "<H"), (28, "<H"), (30, "<I"),
              (34, "<I"), (46, "<I"), (54, "<I"), (58, "<I"), (62, "<I"), (66, "<I"), (18, "<H"),
              (20, "<H"), (22, "<H"), (24, "<H")]  # fmt: skip
BMP_VALUES = [(14, [12, 40, 52, 56, 64, 108, 124]), (28, [1, 2, 4, 8, 16, 24, 32]), (30, range(7)),
              (18, range(1, 300, 7)), (22, range(1, 300, 7))]  # fmt: skip


def bmp(data, rng, mutate):
    """The fields of its header; and rows of run lengths."""
    if rng.random() < 0.5:
        return put(data, *rng.choice(BMP_FIELDS), rng)
    out = bytearray(data)
    at, values = rng.choice(BMP_VALUES)
    struct.pack_into("<H", out, at, rng.choice(values))
    if rng.random() < 0.2:
        start = int.from_bytes(data[10:14], "little")
        out[start:] = mutate(bytes(out[start:]))
    return bytes(out)


# Where the fields are (nifti1.h, nifti2.h): dim, datatype, bitpix, pixdim, vox_offset, scaling,
# xyzt_units, the codes and numbers of both transforms, magic.
NIFTI1 = [*((at, "h") for at in range(40, 56, 2)), (70, "h"), (72, "h"), (252, "h"), (254, "h"),
          *((at, "f") for at in range(76, 120, 4)), (123, "B"), (344, "B"),
          *((at, "f") for at in range(256, 328, 4))]  # fmt: skip
NIFTI2 = [*((at, "q") for at in range(16, 80, 8)), (12, "h"), (14, "h"), (168, "q"),
          *((at, "d") for at in range(104, 168, 8)), (176, "d"), (184, "d"), (344, "i"), (348, "i"),
          *((at, "d") for at in range(352, 496, 8)), (500, "i"), (4, "B")]  # fmt: skip
NIFTI_TYPES = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2304]


def nifti(data, rng, mutate):
    """The fields of the header, also inside gzip; and a gzip file of whatever it becomes."""
    packed = data.startswith(b"\x1f\x8b")
    whole = zlib.decompressobj(31).decompress(data, 1 << 16) if packed else data
    first = next((o for o in "<>" if struct.unpack_from(o + "i", whole)[0] in (348, 540)), "<")
    second = struct.unpack_from(first + "i", whole)[0] == 540
    how = rng.random()
    if how < 0.6:
        at, form = rng.choice(NIFTI2 if second else NIFTI1)
        whole = put(whole, at, first + form, rng)
    elif how < 0.75:  # the type of its voxels
        out = bytearray(whole)
        struct.pack_into(first + "h", out, 12 if second else 70, rng.choice(NIFTI_TYPES))
        whole = bytes(out)
    elif how < 0.85:  # a side of its volume
        out = bytearray(whole)
        at = (16 if second else 40) + rng.randrange(8) * (8 if second else 2)
        struct.pack_into(first + ("q" if second else "h"), out, at, rng.randrange(8))
        whole = bytes(out)
    else:
        whole = mutate(whole)
    if rng.random() < (0.95 if packed else 0.05):
        return gzip.compress(whole, 1)
    return whole
