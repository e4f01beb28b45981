"""What every format shares: a paragraph is a string whose lines (list items, table rows, verses) end in newlines.

A paragraph that starts with `CODE` is a listing whose layout was kept.
"""

import re

CODE = "\x05"

_SPACES = re.compile(r"[ \t\n\r\f\v\u00a0\u2000-\u200a\u202f\u3000]+")
_INVISIBLE = re.compile(
    "[\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff\ufffd\u00b6\uf000-\uf8ff\x00\x01\x04\x06-\x08\x0e-\x1f]"
)


def squeeze(text: str) -> str:
    """One line: runs of white space become a space, invisible and private characters go."""
    return _SPACES.sub(" ", _INVISIBLE.sub("", text)).strip()


def decode(data: bytes) -> str:
    """UTF-8, or else the Windows code page that old English files are in."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def blocks(text: str) -> list[str]:
    """What stands between empty lines."""
    return re.split(r"\n[ \t]*\n", text)


def listing(text: str) -> str:
    """A paragraph for a code listing: layout kept, tabs and empty lines around it removed."""
    lines = [_INVISIBLE.sub("", line).rstrip() for line in text.expandtabs(4).split("\n")]
    filled = [i for i, line in enumerate(lines) if line]
    return CODE + "\n".join(lines[filled[0] : filled[-1] + 1] if filled else [])


def squeezed_lines(text: str) -> str:
    """The lines that hold something, each squeezed."""
    return "\n".join(filter(None, (squeeze(line) for line in text.split("\n"))))
