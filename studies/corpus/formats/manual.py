"""The manuals of Unix and Perl: man pages and POD."""

import re
import subprocess

from .paragraph import CODE, blocks, decode, listing, squeeze
from .plain import from_text

# One paragraph a line: no hyphenation, ragged right, lines so long that they never break.
GROFF = ("groff", "-k", "-mandoc", "-Tutf8", "-P-cbou", "-rLL=1000n", "-rHY=0", "-dAD=l")


def from_man(data: bytes) -> list[str]:
    """A man page as groff sets it; nothing if groff needs more than a minute."""
    try:
        page = subprocess.run(GROFF, input=data, capture_output=True, timeout=60).stdout
    except subprocess.TimeoutExpired:
        return []
    return [p for p in from_text(page.decode("utf-8", "replace")) if not p.startswith(CODE + "Linux Programmer")]


def from_pod(data: bytes) -> list[str]:
    """Perl's documentation: commands and formatting codes dropped, indented blocks kept as listings."""
    text = re.sub(r"^=(?:over|back|cut|pod|encoding|for|begin|end)\b.*$", "", decode(data), flags=re.M)
    text = re.sub(r"^=(?:head\d|item)[ \t]*", "", text, flags=re.M)
    for _ in range(3):  # codes nest
        text = re.sub(r"[BICFSXZL]<<? ?([^<>]*?) ?>>?", lambda match: match[1].split("|")[0], text)
    text = text.replace("E<gt>", ">").replace("E<lt>", "<")
    # An empty block gives an empty listing, which the cleaner drops.
    return [
        listing(block) if block[:1] in " \t" else squeeze(block) for block in blocks(text) if block[:1] in " \t" or block.strip()
    ]
