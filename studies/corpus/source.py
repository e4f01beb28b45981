"""What a source of the corpus is: one registry package, and which of its files are text."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A package and which of its files are text; `kind` is deb, pypi, npm, or apt (the package lists' descriptions)."""

    name: str
    kind: str
    licence: str
    version: str = ""  # exact for pypi and npm; a deb is whatever the release has
    keep: str = ""
    skip: str = ""
    fmt: str = ""  # a name in formats.table.FORMATS, where the path doesn't tell
    cap: float = 60.0

    @property
    def file_stem(self) -> str:
        """The name with what file systems dislike made an underscore."""
        return re.sub(r"[^A-Za-z0-9.+-]+", "_", self.name).strip("_")


def deb(name: str, licence: str, **options) -> Source:
    """A package of the Debian archive."""
    return Source(name, "deb", licence, **options)


def pypi(name: str, version: str, licence: str, **options) -> Source:
    """A package of PyPI."""
    return Source(name, "pypi", licence, version, **options)


def npm(name: str, version: str, licence: str, **options) -> Source:
    """A package of npm."""
    return Source(name, "npm", licence, version, **options)
