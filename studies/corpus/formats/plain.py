"""Plain text and what is nearly that: light markup, verse, fortunes, dictd dictionaries."""

import re

from .paragraph import blocks, decode, listing, squeeze, squeezed_lines

_LIST_ITEM = re.compile(r"^\s*([-*+•o]|\(?\d{1,3}[.)]|[a-z]\))\s+")
_LIKE_CODE = re.compile(r"\S {3,}\S|\t|[{};|=]{1}\s*$|^\s*[#$>%]\s")
_RULE = re.compile(r"\s*([-=*_~#^\"'`.+]\s?){4,}\s*")


def from_text(data: bytes | str) -> list[str]:
    """Hard-wrapped text: the lines of a paragraph joined, lists and listings kept."""
    text = data if isinstance(data, str) else decode(data)
    text = re.sub(r".\x08", "", text).replace("\r\n", "\n").replace("\x0c", "\n\n").expandtabs(8)
    return [_paragraph(lines) for block in blocks(text) if (lines := _lines(block))]


def _lines(block: str) -> list[str]:
    """The lines that are neither empty nor a rule, without their common indent."""
    lines = [line.rstrip() for line in block.split("\n") if line.strip() and not _RULE.fullmatch(line.rstrip())]
    indent = min((len(line) - len(line.lstrip()) for line in lines), default=0)
    return [line[indent:] for line in lines]


def _paragraph(lines: list[str]) -> str:
    if _is_listing(lines):
        return listing("\n".join(lines))
    joined: list[str] = []
    for line in lines:
        if joined and not _LIST_ITEM.match(line):
            joined[-1] = _join(joined[-1], line.lstrip())
        else:
            joined.append(line)
    return "\n".join(squeeze(line) for line in joined)


def _is_listing(lines: list[str]) -> bool:
    """A third of the lines look like code or tables, or they are all very short."""
    odd = sum(1 for line in lines if _LIKE_CODE.search(line))
    return odd * 3 > len(lines) or (len(lines) > 2 and sum(map(len, lines)) < 25 * len(lines))


def _join(start: str, end: str) -> str:
    """One line of two; a word that was divided with a hyphen becomes whole."""
    return start[:-1] + end if re.search(r"[a-z]-$", start) else start + " " + end


def from_markup(data: bytes | str) -> list[str]:
    """Markdown or reStructuredText: directives, roles and emphasis dropped, then as plain text."""
    text = data if isinstance(data, str) else decode(data)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r"^\.\. [^\n]*(\n[ \t]+[^\n]*)*", "", text, flags=re.M)
    text = re.sub(r":[a-z:]+:`([^`<]+?)(?: <[^>]*>)?`", r"\1", text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"^#+ +", "", text, flags=re.M)
    return from_text(re.sub(r"\*\*|``|`_|`", "", text))


def from_lines(data: bytes) -> list[str]:
    """Text whose line ends matter (verse, drama)."""
    text = decode(data).replace("\r\n", "\n")
    return [lines for block in blocks(text) if (lines := squeezed_lines(block))]


def from_fortune(data: bytes) -> list[str]:
    """Sayings between lines that hold only a per cent sign."""
    return [squeezed_lines(item) for item in re.split(r"^%\s*$", decode(data), flags=re.M) if item.strip()]


def from_dict(data: bytes) -> list[str]:
    """dictd data: an entry starts in the first column, its text is indented."""
    entries = (_entry(entry) for entry in re.split(r"\n(?=\S)", decode(data)))
    return [entry for entry in entries if entry is not None]


def _entry(text: str) -> str | None:
    text = squeeze(" ".join(line.strip() for line in text.split("\n")))
    text = re.sub(r"[{}\\]", "", text)
    text = re.sub(r"\[(1913 Webster|PJC|WordNet [\d.]+|Webster 1913 Suppl\.)\]", "", text)
    return squeeze(text) if text else None
