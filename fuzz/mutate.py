"""Hostile inputs out of valid ones: structure is kept where that gets deeper into a reader, and broken where that gets further out of it.

Everything is drawn from a `random.Random`, so an input is made again from its seed.
"""

import contextlib
import json
import re
import struct
from collections.abc import Callable
from random import Random
from typing import Any

NUMBERS = (
    "0",
    "-0.0",
    "-1",
    "1",
    "2",
    "1e308",
    "-1e308",
    "1e400",
    "1e-320",
    "NaN",
    "Infinity",
    "-Infinity",
    "nan",
    "inf",
    "true",
    "null",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "1000000000000",
    "0.5",
    "1_000",
    "0x" + "f" * 40,
    "9" * 400,
    "9" * 5000,
    "0x" + "f" * 5000,
)
STRINGS = (
    "",
    " ",
    "\x00",
    "a\x00b",
    "\x1b[31m\x1b]0;owned\x07",
    "\u202eevil",
    "../../etc/passwd",
    "/etc/passwd",
    "~root",
    "C:\\x",
    "<script>alert(1)</script>",
    "[bold red]x[/]",
    "$\\badmath{$",
    "%s%n{0}{__class__}",
    "\ud800",
    "\ufeff",
    "é" * 10,
    "x" * 5000,
    "nan",
    "1e999",
    "\n\r\n",
    "'; DROP TABLE runs; --",
    "__class__",
    "__proto__",
    ".",
    "..",
    "a/b",
    "\\",
    '"',
    "𝟙",
    "²",
    "１２",
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**63,
    -(2**63) - 1,
    2**64,
    10**12,
    10**400,
    0.5,
    1e308,
    -1e308,
    float("nan"),
    float("inf"),
    [],
    {},
    [[]],
    [None],
    {"": None},
    [0, 0, 0],
    *STRINGS,
)
DEEP = (1_000, 10_000)
LENGTHS = (0, 1, 7, 8, 2**16, 2**24 + 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
WORD = re.compile(rb'"[^"\n]{0,80}"|[A-Za-z_][A-Za-z_0-9]*')

Mutation = Callable[[bytes, Random], bytes]


def mutated(data: bytes, random: Random, *, is_json: bool = False) -> bytes:
    """One to four changes of a valid input."""
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 4))):
        if is_json and random.random() < 0.6:
            changed = of_json(data, random)
            data = random.choice(ANY)(data, random) if changed is None else changed
        else:
            data = random.choice(ANY)(data, random)
    return data


def of_json(data: bytes, random: Random) -> bytes | None:
    """JSON with a node replaced, dropped, doubled, exchanged with another or nested; None for what is no JSON."""
    try:
        content = json.loads(data)
        holder: list[Any] = [content]
        places = list(_places(holder))
    except (ValueError, RecursionError):
        return None
    parent, key = random.choice(places)
    match random.randrange(7):
        case 0 | 1 | 2:
            parent[key] = random.choice(VALUES)
        case 3 if parent is not holder:
            del parent[key]
        case 4:
            other, other_key = random.choice(places)
            with contextlib.suppress(LookupError, ValueError):
                parent[key], other[other_key] = json.loads(json.dumps(other[other_key])), json.loads(json.dumps(parent[key]))
        case 5 if isinstance(parent, list):
            parent[key:key] = [parent[key]] * random.choice((1, 2, 50))
        case 5:
            parent[random.choice(STRINGS)] = parent[key]
        case 6:
            value: Any = parent[key]
            for _ in range(random.choice((1, 2, 100))):
                value = [value] if random.random() < 0.7 else {"a": value}
            parent[key] = value
    try:
        text = json.dumps(holder[0], ensure_ascii=random.random() < 0.8)
    except (ValueError, RecursionError):
        return None
    return text.encode("utf-8", errors="surrogatepass")


def _places(node: Any) -> Any:
    keys = range(len(node)) if isinstance(node, list) else list(node)
    for key in keys:
        yield node, key
        if isinstance(node[key], list | dict):
            yield from _places(node[key])


def _replace_number(data: bytes, random: Random) -> bytes:
    return _replaced(data, NUMBER, random.choice(NUMBERS).encode(), random)


def _replace_word(data: bytes, random: Random) -> bytes:
    text = random.choice((*STRINGS, *NUMBERS))
    quoted = json.dumps(text) if random.random() < 0.7 else text
    return _replaced(data, WORD, quoted.encode("utf-8", errors="surrogatepass"), random)


def _replaced(data: bytes, pattern: re.Pattern[bytes], new: bytes, random: Random) -> bytes:
    found = list(pattern.finditer(data, 0, 20_000))
    if not found:
        return data + new
    place = random.choice(found)
    return data[: place.start()] + new + data[place.end() :]


def _lines(data: bytes, random: Random) -> bytes:
    """A line dropped, doubled many times or exchanged with another."""
    lines = data.split(b"\n")
    at, other = random.randrange(len(lines)), random.randrange(len(lines))
    match random.randrange(3):
        case 0:
            del lines[at]
        case 1:
            lines[at:at] = [lines[at]] * random.choice((1, 2, 100))
        case 2:
            lines[at], lines[other] = lines[other], lines[at]
    return b"\n".join(lines)


def _cut(data: bytes, random: Random) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _flip(data: bytes, random: Random) -> bytes:
    changed = bytearray(data or b"\0")
    for _ in range(random.choice((1, 1, 2, 8))):
        changed[random.randrange(len(changed))] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
    return bytes(changed)


def _insert(data: bytes, random: Random) -> bytes:
    at = random.randrange(len(data) + 1)
    new = random.choice(
        (b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\r", b"\n", b'"', b",", b"[", b"{", b"]", b"}", b"\x80", random.randbytes(4))
    )
    return data[:at] + new * random.choice((1, 1, 3, 1000)) + data[at:]


def _remove(data: bytes, random: Random) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + data[at + random.choice((1, 2, 8, 64)) :]


def _repeat(data: bytes, random: Random) -> bytes:
    at = random.randrange(len(data) + 1)
    piece = data[at : at + random.choice((1, 8, 64, 512))]
    return data[:at] + piece * random.choice((2, 2, 10, 100)) + data[at:]


def _length(data: bytes, random: Random) -> bytes:
    """A number of 4 or 8 bytes, as lengths are in binary formats, at any place, often the first."""
    at = 0 if random.random() < 0.3 else random.randrange(len(data) + 1)
    number = random.choice(LENGTHS)
    packed = struct.pack("<Q", number) if random.random() < 0.6 else struct.pack("<I", number & 0xFFFFFFFF)
    return data[:at] + packed + data[at + len(packed) :]


def _deep(data: bytes, random: Random) -> bytes:
    """Something nested very deep, in the place of a number or at the end."""
    if random.random() < 0.8:
        return _flip(data, random)  # it takes long
    n = random.choice(DEEP)
    opening, closing = random.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"{a=", b"}"), (b"(", b")")))
    inner = opening * n + b"1" + closing * random.choice((n, n, 0))
    return _replaced(data, NUMBER, inner, random)


def _empty(data: bytes, random: Random) -> bytes:
    return random.choice((b"", b"\0", b"\n", b"{}", b"[]", b"null", b"0", b'""', b"\xff" * 16, data))


ANY: tuple[Mutation, ...] = (
    _replace_number,
    _replace_number,
    _replace_word,
    _replace_word,
    _lines,
    _cut,
    _flip,
    _flip,
    _insert,
    _remove,
    _repeat,
    _length,
    _deep,
    _empty,
)
