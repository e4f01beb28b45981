"""Source code: the top-level blocks of a file, if it is one that somebody wrote by hand for others to read."""

import re

from .paragraph import decode, listing

LONGEST_LINE_CHARS = 1000
LONGEST_MEAN_LINE_CHARS = 80
LEAST_ASCII_SHARE = 0.97
LEAST_LETTERS_SHARE = 0.5  # of what isn't white space; ordinary code has 0.65 to 0.8
LARGEST_LITERALS_SHARE = 0.5  # of the lines

_COPYLEFT = re.compile(r"\b(GNU (Lesser|Library|Affero|General)|[AL]?GPL|Mozilla Public|CC[- ]BY[- ](SA|NC)|ShareAlike)", re.I)
_GENERATED = re.compile(
    r"@generated|\bauto[- ]?generated\b|\bautomatically (generated|created)\b|\bdo not (edit|modify)\b"
    r"|^\W*(code |this file (was|is) )?generated (by|from|with|using)\b",
    re.I | re.M,
)
_SPECIAL_TOKEN = re.compile(r"<\|\w+\|>")  # a tokenizer would read it as one: <|endoftext|>
_LITERAL_LINE = re.compile(r"\s*([bru]?[\"'].*[\"']|[-\d(\[{][^a-z]*)[\])}]*,?\s*")

# A comment at the head of a file: lines that start with # (which no preprocessor reads) or //, or what /* and */ enclose.
_HEAD_COMMENT = re.compile(
    r"\s*((?:(?:#(?!include|import|if|define|undef|pragma|error)|//)[^\n]*\n)+|/\*.*?\*/[^\S\n]*\n?)", re.S
)
_LEGAL = re.compile(r"copyright|licen[cs]e|SPDX|\(c\)|all rights reserved", re.I)


class UnwantedFile(Exception):
    """A file that isn't for this corpus; the message is the reason in a word or two."""


def from_code(data: bytes) -> list[str]:
    """The blocks of a file that start in its first column after an empty line, each a listing; no licence at its head."""
    text = decode(data).replace("\r\n", "\n").expandtabs(4)
    if reason := reason_against(text):
        raise UnwantedFile(reason)
    return [listing(block) for block in re.split(r"\n\s*\n(?=\S)", without_licence(text).strip()) if block.strip()]


def reason_against(text: str) -> str:
    """Why a file isn't wanted; empty if it is."""
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        return "empty"
    if _COPYLEFT.search(text):
        return "names_copyleft"
    if _GENERATED.search(text[:1500]):
        return "generated"
    if _SPECIAL_TOKEN.search(text):
        return "special_tokens"
    if max(map(len, lines)) > LONGEST_LINE_CHARS or sum(map(len, lines)) > LONGEST_MEAN_LINE_CHARS * len(lines):
        return "long_lines"
    if len(text.encode("ascii", "ignore")) < LEAST_ASCII_SHARE * len(text):
        return "not_ascii"
    return "like_data" if _is_like_data(lines) else ""


def _is_like_data(lines: list[str]) -> bool:
    marks = "".join("".join(lines).split())
    letters = len(re.findall(r"[A-Za-z_]", marks))
    literals = sum(1 for line in lines if _LITERAL_LINE.fullmatch(line))
    return letters < LEAST_LETTERS_SHARE * len(marks) or literals > LARGEST_LITERALS_SHARE * len(lines)


def without_licence(text: str) -> str:
    """A file without the comments at its head that speak of copyright or licence; other comments there stay."""
    kept, position = [], 0
    while comment := _HEAD_COMMENT.match(text, position):
        position = comment.end()
        if not _LEGAL.search(comment[1]):
            kept.append(comment[1])
    return "\n".join([*kept, text[position:]])
