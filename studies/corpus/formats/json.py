"""JSON that holds prose: chapters, country profiles, the descriptions of web services."""

import html
import json
import re
from collections.abc import Iterator

from .html import from_html
from .paragraph import decode, squeeze
from .plain import from_text


def from_literature(data: bytes) -> list[str]:
    """Plain text, or the long strings of a JSON file in their order."""
    text = decode(data)
    if text.lstrip()[:1] in "[{":
        text = "\n\n".join(string for _, string in _strings(json.loads(text)) if len(string) > 200)
    return from_text(text)


def from_jsontext(data: bytes) -> list[str]:
    """Each string as "key: text"; a key that is only "text" gives way to the one above it."""
    return [
        f"{key}: {squeeze(re.sub('<[^>]+>', ' ', html.unescape(text)))}"
        for key, text in _strings(json.loads(decode(data)))
        if len(text) > 40
    ]


def _strings(value, key: str = "") -> Iterator[tuple[str, str]]:
    """(key, string) for every string in the order of the file."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, child in value.items():
            yield from _strings(child, key if name == "text" else name)
    elif isinstance(value, list):
        for child in value:
            yield from _strings(child, key)


def from_jsondoc(data: bytes) -> list[str]:
    """AWS service models: every "documentation" is a little HTML."""
    return [p for text in _fields(json.loads(decode(data)), "documentation") for p in from_html(f"<body>{text}</body>")]


def from_jsondesc(data: bytes) -> list[str]:
    """Google service models: every "description" is a paragraph."""
    return [squeeze(text) for text in _fields(json.loads(decode(data)), "description")]


def _fields(value, name: str) -> Iterator[str]:
    """The strings of more than 60 characters under the key `name`, a parent's before its children's."""
    if isinstance(value, dict):
        if isinstance(value.get(name), str) and len(value[name]) > 60:
            yield value[name]
        for key in sorted(value):
            yield from _fields(value[key], name)
    elif isinstance(value, list):
        for child in value:
            yield from _fields(child, name)
