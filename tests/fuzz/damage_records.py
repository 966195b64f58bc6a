"""Damage to files that are made of records: DICOM elements, the fields of protobuf, lines of a table.

As in `damage`: a file, a `random.Random` and libFuzzer's `mutate` in, another file out.
"""

import hashlib
import json
import struct

from .damage import REAL, WHOLE, rearranged

LONG_VR = (b"OB", b"OW", b"OF", b"OD", b"OL", b"SQ", b"UN", b"UT", b"UC", b"UR")
NUMBERS = {b"US": "H", b"SS": "h", b"UL": "I", b"SL": "i", b"FL": "f", b"FD": "d"}
TEXTS = [b"", b"0", b"1", b"-1", b"0,5", b"1e400", b"nan", b"inf", b"1\\2", b"0\\0", b"\\", b"x", b"16",
         b"-1024", b"1e-300", b" 1 ", b"99999999999", b"\xe9\xff", b"\x1b$B", b"a" * 300]  # fmt: skip
WORDS = [b"MONOCHROME1", b"MONOCHROME2", b"RGB", b"YBR_FULL", b"YBR_FULL_422", b"PALETTE COLOR",
         b"ORIGINAL\\PRIMARY", b"DERIVED\\SECONDARY\\MOSAIC", b"LOCALIZER", b"SIGMOID", b"LINEAR_EXACT",
         b"SEG", b"CT", b"MR"]  # fmt: skip
SYNTAXES = [b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.1.99",
            b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.5", b"1.2.840.10008.1.2.4.50",
            b"1.2.840.10008.1.2.4.57", b"1.2.840.10008.1.2.4.70", b"1.2.840.10008.1.2.4.80",
            b"1.2.840.10008.1.2.4.90"]  # fmt: skip
# Elements that change the pixels, or whether and how a file is read.
ELEMENTS = [
    (0x0008, 0x0008, b"CS"), (0x0008, 0x0016, b"UI"), (0x0008, 0x0060, b"CS"),
    (0x0010, 0x0010, b"PN"), (0x0010, 0x0020, b"LO"), (0x0008, 0x0005, b"CS"),
    (0x0018, 0x1164, b"DS"), (0x0018, 0x2010, b"DS"), (0x0028, 0x0002, b"US"),
    (0x0028, 0x0004, b"CS"), (0x0028, 0x0006, b"US"), (0x0028, 0x0008, b"IS"),
    (0x0028, 0x0010, b"US"), (0x0028, 0x0011, b"US"), (0x0028, 0x0030, b"DS"),
    (0x0028, 0x0034, b"IS"), (0x0028, 0x0100, b"US"), (0x0028, 0x0101, b"US"),
    (0x0028, 0x0102, b"US"), (0x0028, 0x0103, b"US"), (0x0028, 0x0120, b"US"),
    (0x0028, 0x0121, b"US"), (0x0028, 0x0301, b"CS"), (0x0028, 0x1050, b"DS"),
    (0x0028, 0x1051, b"DS"), (0x0028, 0x1052, b"DS"), (0x0028, 0x1053, b"DS"),
    (0x0028, 0x1056, b"CS"), (0x0028, 0x1101, b"US"), (0x0028, 0x1201, b"OW"),
    (0x0028, 0x3000, b"SQ"), (0x0028, 0x3010, b"SQ"), (0x2050, 0x0020, b"CS"),
    (0x5200, 0x9229, b"SQ"), (0x5200, 0x9230, b"SQ"), (0x7FE0, 0x0008, b"OF"),
]  # fmt: skip


def dicom(data, rng, mutate):
    """Elements of explicit VR, little endian, each with the length of its value."""
    if data[128:132] != b"DICM":
        raise ValueError
    elements, rest = _elements(data, 132)
    how = rng.choice(["value", "value", "value", "new", "new", "vr", "syntax", "parts", "rest"])
    at = rng.randrange(len(elements))
    tag, vr, value = elements[at]
    if how == "value":
        elements[at] = (tag, vr, _value(vr, value, rng, mutate))
    elif how == "new":
        group, element, vr = rng.choice(ELEMENTS)
        tag = struct.pack("<HH", group, element)
        elements = [e for e in elements if e[0] != tag]
        place = sum(struct.unpack("<HH", e[0]) < (group, element) for e in elements)
        elements.insert(place, (tag, vr, _value(vr, b"", rng, mutate)))
    elif how == "vr":
        elements[at] = (tag, rng.choice([*NUMBERS, b"DS", b"IS", b"CS", b"LO", *LONG_VR]), value)
    elif how == "syntax":
        number = next(i for i, e in enumerate(elements) if e[0] == b"\x02\0\x10\0")
        elements[number] = (*elements[number][:2], rng.choice(SYNTAXES))
    elif how == "parts":
        del elements[at]
        elements.insert(rng.randrange(len(elements) + 1), (tag, vr, value))
        elements = elements[: rng.choice([len(elements), at + 1])]
    else:
        rest = mutate(rest)
    return data[:132] + b"".join(_framed(*element) for element in elements) + rest


def _elements(data, at):
    """The elements up to the first that has no length, and what is left."""
    elements = []
    while at + 8 <= len(data):
        vr = data[at + 4 : at + 6]
        if not (vr.isalpha() and vr.isupper()):
            break
        start = at + (12 if vr in LONG_VR else 8)
        length = int.from_bytes(data[start - 4 if vr in LONG_VR else start - 2 : start], "little")
        if start + length > len(data):
            break
        elements.append((data[at : at + 4], vr, data[start : start + length]))
        at = start + length
    return elements, data[at:]


def _framed(tag, vr, value):
    value += b"\0" * (len(value) % 2) if vr in (b"UI", b"OB", b"UN") else b" " * (len(value) % 2)
    if vr in LONG_VR:
        return tag + vr + b"\0\0" + struct.pack("<I", len(value)) + value
    value = value[:65_534]
    return tag + vr + struct.pack("<H", len(value)) + value


def _value(vr, value, rng, mutate):
    if rng.random() < 0.2:
        return mutate(value)
    if vr in NUMBERS:
        form, count = NUMBERS[vr], rng.choice([1, 1, 1, 1, 0, 2, 3])
        if form in "fd":
            return struct.pack(f"<{count}{form}", *rng.choices(REAL[:-4], k=count))
        size = 8 * struct.calcsize(form)
        values = [rng.choice(WHOLE) & ((1 << size) - 1) for _ in range(count)]
        return struct.pack(f"<{count}{form.upper()}", *values)
    if vr == b"CS":
        return rng.choice(WORDS + TEXTS)
    if vr in LONG_VR:
        return rng.randbytes(rng.choice([0, 1, 2, 8, 100, 512]))
    return b"\\".join(rng.choices(TEXTS, k=rng.choice([1, 1, 1, 2, 6])))


VALUES = [None, True, False, 0, 1, -1, 8, 9, 4096, 4097, 1 << 40, 0.5, float("nan"), float("inf"), "", "a",
          "A", "..", "a/b", "a\nb", "\x1b[2J", "\ud800", "é", "x" * 400, [], ["a"], ["a", "b"], ["a", "a"],
          [0, 255], ["", 1], {}, {"a": 1}, {"a": "x"}, {"a": None}, {"kid": "x"}, [[[]]]]  # fmt: skip
DEEP = b"[" * 5000


def model(data, rng, mutate):
    """A field of the protobuf messages, or of the card; mostly with a right seal of both."""
    fields = _fields(data)
    sealed = rng.random() < 0.8
    card = next(i for i, (n, _, body) in enumerate(fields) if n == 14 and b"scangan" in body)
    if rng.random() < 0.5:
        fields[card] = (14, 2, _entry(_card(_text(fields[card][2]), rng, sealed)))
        return _message(fields)
    graph = next(i for i, (n, _, _) in enumerate(fields) if n == 7)
    fields[graph] = (7, 2, _edited(fields[graph][2], rng, mutate, 4))
    if sealed:
        told = json.loads(_text(fields[card][2]))
        told["graph_sha256"] = hashlib.sha256(fields[graph][2]).hexdigest()
        fields[card] = (14, 2, _entry(_seal(told)))
    elif rng.random() < 0.5:
        fields = [(n, wire, body) for n, wire, body in rearranged_fields(fields, rng, mutate)]
    return _message(fields)


def rearranged_fields(fields, rng, mutate):
    """As `rearranged`, for fields."""
    parts = rearranged([((n, wire), body) for n, wire, body in fields], rng, mutate)
    return [(n, wire, body) for (n, wire), body in parts]


def _card(text, rng, sealed):
    if rng.random() < 0.05:
        return text[:-1].encode() + b', "z": ' + DEEP + b"}"
    told = json.loads(text)
    name = rng.choice(sorted(told))
    if isinstance(told[name], dict) and told[name] and rng.random() < 0.5:
        told[name][rng.choice(sorted(told[name]))] = rng.choice(VALUES)
    elif rng.random() < 0.15:
        del told[name]
    else:
        told[name] = rng.choice(VALUES)
    return _seal(told) if sealed else json.dumps(told).encode()


def suspects(data, rng, mutate):
    """A value, a name or a whole line of JSON."""
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    if rng.random() < 0.3:
        lines.insert(at, rng.choice([*lines, b"", b"{}", b"[]", b"null", b" ", DEEP]))
        return b"\n".join(lines)
    told = json.loads(lines[at])
    part = told["origin"] if told.get("origin") and rng.random() < 0.5 else told
    name = rng.choice(sorted(part))
    if rng.random() < 0.2:
        part[rng.choice(["new", name.upper()])] = part.pop(name)
    else:
        part[name] = rng.choice([*VALUES, *WHOLE, part[name]])
    lines[at] = json.dumps(told).encode()
    return b"\n".join(lines)


def _seal(told):
    told.pop("card_sha256", None)
    plain = json.dumps(told, ensure_ascii=False, sort_keys=True).encode("utf-8", "surrogatepass")
    told["card_sha256"] = hashlib.sha256(plain).hexdigest()
    return json.dumps(told, sort_keys=True).encode()


def _text(entry):
    return next(body for n, _, body in _fields(entry) if n == 2).decode()


def _entry(card):
    return _message([(1, 2, b"scangan"), (2, 2, card)])


def _edited(message, rng, mutate, depth):
    """Change a field at any depth."""
    try:
        fields = _fields(message)
        at = rng.randrange(len(fields))
    except (ValueError, IndexError):
        return mutate(message)
    number, wire, body = fields[at]
    how = rng.random()
    if wire == 2 and depth and body and how < 0.6:
        fields[at] = (number, wire, _edited(body, rng, mutate, depth - 1))
    elif how < 0.75:
        fields[at] = (rng.choice([number, rng.randrange(1, 26)]), wire, body)
    elif how < 0.85 and wire == 0:
        fields[at] = (number, wire, _varint(rng.choice(WHOLE)))
    else:
        fields = rearranged_fields(fields, rng, mutate)
    return _message(fields)


def _fields(message):
    """(number, wire type, body) of each field."""
    fields, at = [], 0
    while at < len(message):
        tag, at = _number(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            end = _number(message, at)[1]
        elif wire == 2:
            length, at = _number(message, at)
            end = at + length
        else:
            end = at + {1: 8, 5: 4}.get(wire, len(message))
        if end > len(message):
            raise ValueError
        fields.append((number, wire, message[at:end]))
        at = end
    return fields


def _message(fields):
    framed = (
        _varint(n << 3 | wire) + (_varint(len(body)) if wire == 2 else b"") + body
        for n, wire, body in fields
    )
    return b"".join(framed)


def _number(message, at):
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if byte < 0x80:
            return value, at


def _varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


CELLS = ["", " ", '"', '""', '"a', "a.png", "sub/a.png", "./a.png", "sub\\a", "c;d.dcm", "A|B", "A|",
         "e\u0301.png", "|", "a\0b", "\ufeff", "\x85", "\u2028", "\r", "\n", "..", ".x", "é", "/", "a" * 200, ",",
         ";", "\t", "file", "class", "subject", "FILE", "\x1b[2J", "x\udc80"]  # fmt: skip


def labels(data, rng, mutate):
    """Lines and cells of a table, in several encodings."""
    text = data.decode("utf-8", "surrogateescape")
    mark = max(",;\t", key=text.count)
    lines = [line.split(mark) for line in text.splitlines(keepends=True)]
    line = rng.choice(lines)
    how = rng.choice(["cell", "cell", "drop", "lines", "mark", "encoding", "insert"])
    if how == "cell":
        line[rng.randrange(len(line))] = rng.choice(CELLS)
    elif how == "drop":
        del line[rng.randrange(len(line))]
    elif how == "insert":
        line.insert(rng.randrange(len(line) + 1), rng.choice(CELLS))
    elif how == "lines":
        lines.insert(rng.randrange(len(lines) + 1), list(rng.choice(lines)))
    mark = rng.choice(",;\t|") if how == "mark" else mark
    text = "".join(mark.join(cells) for cells in lines)
    encoding = rng.choice(["utf-16", "latin-1", "utf-8-sig"]) if how == "encoding" else "utf-8"
    return text.encode(encoding, "surrogateescape")
