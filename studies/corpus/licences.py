"""May a source's text be passed on under permissive terms? Its own licence files decide, not our notes.

A source passes in one of three ways, and nothing else passes:
- `verified` names the files of the package that a person read, and quotes what permits; the package must still say it;
- a Debian copyright file in the machine-readable format (DEP-5) passes if the licence of each stanza does, apart from the
  packaging's own (`Files: debian/*`), of which nothing is in the text;
- the metadata of a wheel or an npm package passes if the licence named there does.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .dep5 import is_dep5, licence_bodies, stanzas_of
from .metadata import METADATA, licence_named_in
from .verified import VERIFIED, Quote

DEBIAN_COPYRIGHT = r"usr/share/doc/[^/]+/copyright$"
LICENCE_FILE = r"^[^/]+(\.dist-info(/licen[cs]es)?)?/(LICEN[CS]E|COPYING|NOTICE)[^/]*$"

# Whole names as Debian's packagers write them, in lower case. Attribution is fine, share-alike is not.
PERMISSIVE = tuple(
    re.compile(pattern)
    for pattern in (
        r"(expat|mit|x11|mit/x11|mit-old|mit-cmu|mit-like|old-style-mit)(~\w+)?",
        r"(0bsd|bsd-?[1234]?(-clause)?(-uc)?|bsd-2-clause-(darwin|no-conditions))(~\w+)?",
        r"apache(-2(\.0)?|( licen[cs]e)?,?( version)? 2\.0)?|apache-2(\.0)?-(with-)?llvm-exceptions?",
        r"(python|psf)(-2(\.0)?)?",
        r"(\w+-)?public-?domain|publicdomain|unlicense|cc0(-1\.0|_1\.0)?",
        r"isc|zlib|libpng|curl|ntp|tcl|beerware|wtfpl|hpnd|fsfap|fsful|fsfullr",
        r"(bsl|boost)(-1\.0)?|postgresql|wordnet[\d.]*|unicode(-data|-dfs-20\d\d)?",
    )
)

UNVERIFIED = f"{DEBIAN_COPYRIGHT}|{METADATA}|{LICENCE_FILE}"

# Names that only mean something together with their text: permissive where the copyright file says this.
PERMISSIVE_IF_QUOTED = {
    "anaconda-bsd": "Redistribution and use in source and binary forms, with or without modification, are permitted",
    "apache-2.0+mit": "Permission is hereby granted, free of charge, to any person obtaining a copy of this software",
    "bsd-generic": "This software is released under the BSD License",
    "bsd-lbnl": "Redistribution and use in source and binary forms, with or without modification, are permitted",
    "bsd-style": "Redistribution and use in source and binary forms, with or without modification, are permitted",
    "bsdlike": "Redistributions of source code must retain the above copyright notice",
    "informal": "Permission to use, copy, modify, and distribute this software is freely granted",
    "permissive": "This file can be copied and used freely without restrictions",
    "psf-baseconv": "grants Licensee a nonexclusive, royalty-free, world-wide license to reproduce",
    "qhullbsd": "It may be freely copied, modified, and redistributed under the following conditions",
}


@dataclass(frozen=True)
class Verdict:
    """Whether a source's text may be passed on permissively, and the reason in a few words."""

    passes: bool
    reason: str


def files_to_read(name: str) -> re.Pattern:
    """Which files of its package decide on source `name`, as a pattern to search in their paths."""
    return re.compile("|".join(quote.member for quote in VERIFIED[name]) if name in VERIFIED else UNVERIFIED)


def passages(name: str, licence_files: Mapping[str, str]) -> list[str]:
    """What to pass on with the text of source `name`: whole licence files, and of other files that permit only the quote."""
    is_whole = re.compile(r"(copyright|(LICEN[CS]E|COPYING|NOTICE)[^/]*)$")
    whole = [text.strip() for path, text in sorted(licence_files.items()) if is_whole.search(path)]
    quotes = [f"{quote.why}: {quote.text}" for quote in VERIFIED.get(name, ()) if not re.search("copyright|LICEN", quote.member)]
    named = [f"{path}: {licence_named_in(path, text)}" for path, text in licence_files.items() if re.search(METADATA, path)]
    return quotes + (named if name not in VERIFIED else []) + whole


def judge(name: str, licence_files: Mapping[str, str]) -> Verdict:
    """The verdict on source `name`, from the licence files of its package (path to text)."""
    if name in VERIFIED:
        return _judge_quotes(VERIFIED[name], licence_files)
    for path, text in licence_files.items():
        if re.search(METADATA, path):
            return _judge_name(licence_named_in(path, text))
    texts = [text for path, text in sorted(licence_files.items()) if re.search(DEBIAN_COPYRIGHT, path)]
    if not texts:
        return Verdict(False, "no licence text of its own in the package, and not in VERIFIED")
    verdicts = [judge_dep5(text) for text in texts]
    return next((verdict for verdict in verdicts if not verdict.passes), verdicts[0])


def _judge_quotes(quotes: tuple[Quote, ...], licence_files: Mapping[str, str]) -> Verdict:
    for quote in quotes:
        texts = [text for path, text in licence_files.items() if re.search(quote.member, path)]
        if not any(_one_line(quote.text) in _one_line(text) for text in texts):
            return Verdict(False, f"the package no longer says {quote.text!r}")
    return Verdict(True, "verified by hand: " + ", ".join(quote.why for quote in quotes))


def _judge_name(name: str) -> Verdict:
    passes = is_permissive(name, {})
    return Verdict(passes, f"its metadata: {name}" if passes else f"not permissive: {name or '(unnamed)'}")


def judge_dep5(text: str) -> Verdict:
    """The verdict on one Debian copyright file: every licence outside `debian/` must be permissive."""
    if not is_dep5(text):
        return Verdict(False, "the copyright file is not machine-readable, and the package not in VERIFIED")
    stanzas = [s for s in stanzas_of(text) if not s.is_packaging]
    bodies = licence_bodies(text)
    refused = sorted({s.licence or "(unnamed)" for s in stanzas if not is_permissive(s.licence, bodies)})
    if not stanzas:
        return Verdict(False, "the copyright file has no stanza about the upstream files")
    if refused:
        return Verdict(False, "not permissive: " + "; ".join(refused))
    return Verdict(True, "; ".join(sorted({s.licence for s in stanzas})))


def is_permissive(expression: str, bodies: Mapping[str, str]) -> bool:
    """DEP-5's licence expressions, and SPDX's without parentheses: "and" binds tighter than "or", a comma looser than both."""
    expression = " ".join(expression.lower().split())
    for separator, decide in ((r", and ", all), (r", or ", any), (r" or ", any), (r" and ", all)):
        parts = re.split(separator, expression)
        if len(parts) > 1:
            return decide(is_permissive(part, bodies) for part in parts)
    return _name_is_permissive(expression, bodies)


def _name_is_permissive(name: str, bodies: Mapping[str, str]) -> bool:
    # An exception only adds to what a licence permits.
    plain = re.sub(r" with .*exceptions?$| licen[cs]e$", "", name)
    if any(pattern.fullmatch(plain) for pattern in PERMISSIVE):
        return True
    return name in PERMISSIVE_IF_QUOTED and _one_line(PERMISSIVE_IF_QUOTED[name]) in _one_line(bodies.get(name, ""))


def _one_line(text: str) -> str:
    # " ." is an empty line in deb822; quotes run over line ends.
    return " ".join(re.sub(r"^ \.$", "", text, flags=re.M).split())
