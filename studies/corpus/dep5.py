"""Debian's machine-readable copyright files: which licence is on which files.

Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Stanza:
    """A `Files` paragraph of a DEP-5 file; the header's own licence counts as one for all files."""

    files: tuple[str, ...]
    licence: str

    @property
    def is_packaging(self) -> bool:
        """Whether it is about nothing but the Debian packaging."""
        return all(pattern.removeprefix("./").startswith("debian/") for pattern in self.files)


def is_dep5(text: str) -> bool:
    """Whether a copyright file is in this format at all."""
    return bool(re.match(r"\s*Format(-Specification)?:", text, re.I))


def stanzas_of(text: str) -> list[Stanza]:
    """The `Files` paragraphs in order, and first the header if it names a licence."""
    paragraphs = list(_paragraphs(text))
    header = [Stanza(("*",), _first_line(p["license"])) for p in paragraphs[:1] if "license" in p and "files" not in p]
    return header + [Stanza(tuple(p["files"].split()), _first_line(p.get("license", ""))) for p in paragraphs if "files" in p]


def licence_bodies(text: str) -> dict[str, str]:
    """Licence name in lower case to every text that the file gives under it."""
    bodies: dict[str, str] = {}
    for paragraph in _paragraphs(text):
        name, _, body = paragraph.get("license", "").partition("\n")
        key = name.strip().lower()
        bodies[key] = bodies.get(key, "") + "\n" + body
    return bodies


def _paragraphs(text: str) -> Iterator[dict[str, str]]:
    """The paragraphs of a deb822 file: field name in lower case to value, with its continuation lines."""
    for block in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n").strip("\n")):
        fields, name = {}, ""
        for line in block.split("\n"):
            head = re.match(r"([A-Za-z][\w-]*):(.*)", line)
            if head:
                name = head[1].lower()
                fields[name] = head[2].strip()
            elif name:
                fields[name] += "\n" + line
        yield fields


def _first_line(value: str) -> str:
    return value.partition("\n")[0].strip()
