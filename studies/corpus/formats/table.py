"""The formats by name and by path, and from a file of a known format to its paragraphs."""

import gzip
import re
from collections.abc import Callable

from .code import from_code
from .html import from_epub, from_html, from_htmlpre
from .json import from_jsondesc, from_jsondoc, from_jsontext, from_literature
from .manual import from_man, from_pod
from .plain import from_dict, from_fortune, from_lines, from_markup, from_text
from .python import from_ansible, from_pydoc
from .xml import from_xml

FORMATS: dict[str, Callable[[bytes], list[str]]] = {
    "ansible": from_ansible,
    "code": from_code,
    "dict": from_dict,
    "epub": from_epub,
    "fortune": from_fortune,
    "html": from_html,
    "htmlpre": from_htmlpre,
    "jsondesc": from_jsondesc,
    "jsondoc": from_jsondoc,
    "jsontext": from_jsontext,
    "lines": from_lines,
    "literature": from_literature,
    "man": from_man,
    "markup": from_markup,
    "pod": from_pod,
    "pydoc": from_pydoc,
    "text": from_text,
    "xml": from_xml,
}

# The first that matches the path, without .gz or .xz, wins.
FORMAT_BY_PATH = (
    (re.compile(r"\.(x?html?|html\.en|en\.utf8|html\.utf8)$|\.html\.[a-z]{2}(\.utf-?8)?$|\.php$"), "html"),
    (re.compile(r"\.(md|markdown|rst|rst\.txt|mdwn)$"), "markup"),
    (re.compile(r"\.(page|docbook|xml)$"), "xml"),
    (re.compile(r"\.pod$"), "pod"),
    (re.compile(r"\.epub$"), "epub"),
    (re.compile(r"\.dz$"), "dict"),
    (re.compile(r"/man/man\d/[^/]+\.\d\w*$"), "man"),
    (re.compile(r"\.(txt|text|des|info(-\d+)?)$|/README[^/]*$|/[A-Z]+$|/[a-z]+$"), "text"),
)


def format_of(path: str) -> str:
    """The name of a file's format by its path; empty if it is none of ours."""
    path = re.sub(r"\.(gz|xz)$", "", path)
    return next((name for pattern, name in FORMAT_BY_PATH if pattern.search(path)), "")


def paragraphs_of(data: bytes, format_name: str) -> list[str]:
    """The paragraphs of one file, decompressed first if it is gzip (as .dz files are)."""
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    return FORMATS[format_name](data)
