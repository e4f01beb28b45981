"""The extractors: small files of each kind, and the paragraphs that a reader would see."""

import gzip

import pytest

from studies.corpus.formats.manual import from_pod
from studies.corpus.formats.paragraph import CODE, decode, listing, squeeze
from studies.corpus.formats.plain import from_dict, from_fortune, from_lines, from_markup, from_text
from studies.corpus.formats.python import from_ansible, from_pydoc


def test_squeeze_and_decode():
    assert squeeze(" a\u00a0 b\u00ad\u200bc\n") == "a bc"
    assert decode("naïve".encode()) == decode("naïve".encode("cp1252")) == "naïve"
    assert listing("\n\tif x:\n\n\t\tpass  \n\n") == CODE + "    if x:\n\n        pass"


def test_hard_wrapped_lines_are_joined():
    text = b"  The first line of it is quite long and ends in a hyphe-\n  nated word on this, the second line.\n\nAnother."
    assert from_text(text) == [
        "The first line of it is quite long and ends in a hyphenated word on this, the second line.",
        "Another.",
    ]


def test_lists_keep_their_lines_and_rules_go():
    text = b"---------\n- the first item of the list,\n  which goes on here\n- the second item of the list\n"
    assert from_text(text) == ["- the first item of the list, which goes on here\n- the second item of the list"]


def test_what_looks_like_code_keeps_its_layout():
    assert from_text(b"x = {\n    1: 2;\n}\n") == [CODE + "x = {\n    1: 2;\n}"]


def test_overstruck_manuals_lose_their_backspaces():
    assert from_text(b"N\x08NA\x08AM\x08ME\x08E of the manual page") == ["NAME of the manual page"]


def test_markup_loses_its_marks():
    text = (
        b"# Title\n\n.. note:: this goes\n   and this\n\nSee **the** :ref:`manual <x>` at [a page](https://example.org) ``now``."
    )
    assert from_markup(text) == ["Title", "See the manual at a page now."]


def test_verse_fortunes_and_dictionaries():
    assert from_lines(b"One  line\r\nand another\r\n\r\nA second verse") == ["One line\nand another", "A second verse"]
    assert from_fortune(b"First saying\n\t-- Someone\n%\nSecond\n%\n") == ["First saying\n-- Someone", "Second"]
    assert from_dict(b"abacus\n   n. a {frame} with\n   beads [1913 Webster]\nabbey\n   n. a house") == [
        "abacus n. a frame with beads",
        "abbey n. a house",
    ]


def test_pod():
    pod = b"=head1 NAME\n\nPrints B<bold> and L<a page|perlpod/x> I<code>, E<lt>.\n\n    my $x = 1;\n\n=cut\n"
    assert from_pod(pod) == ["NAME", "Prints bold and a page code, <.", CODE + "    my $x = 1;"]


def test_docstrings():
    long = "This function returns " + "something that is quite long, " * 8
    assert from_pydoc(f'def f():\n    """{long}"""\n    return "short"\n'.encode()) == [squeeze(long)]
    assert from_pydoc(b"def broken(:") == []
    yaml = "module: copy\ndescription:\n  - Copies a file, see M(fetch). " + "It does so well. " * 12 + "\n    type: str\n"
    (paragraph,) = [p for p in from_ansible(f'DOCUMENTATION = """\n{yaml}"""'.encode()) if "Copies" in p]
    assert paragraph.startswith("Copies a file, see fetch.")
    assert "type:" not in paragraph


def test_html():
    pytest.importorskip("selectolax", reason="the HTML extractors are built on it")
    from studies.corpus.formats.html import from_html

    page = b"""<body><nav>Home</nav><div role=main><h1>Title</h1><p>Some <b>bold</b> text,<br>two lines.</p>
    <ul><li>one</li><li>two</li></ul><pre>\n  x = 1\n</pre><table><tr><td>a</td><td>b</td></tr></table></div></body>"""
    assert from_html(page) == ["Title", "Some bold text,\ntwo lines.", "- one\n- two", CODE + "  x = 1", "a b"]


def test_json():
    pytest.importorskip("selectolax", reason="AWS's descriptions are HTML")
    from studies.corpus.formats.json import from_jsondesc, from_jsondoc, from_jsontext, from_literature

    long = "a description of more than sixty characters, as it was measured by hand"
    assert from_jsontext(b'{"Geography": {"Climate": {"text": "%s"}, "Area": "no"}}' % long.encode()) == [f"Climate: {long}"]
    assert from_jsondesc(b'{"z": {"description": "%s"}, "description": "%s!"}' % ((long.encode(),) * 2)) == [f"{long}!", long]
    assert from_jsondoc(b'{"documentation": "<p>%s</p>"}' % long.encode()) == [long]
    assert from_literature(b'["%s", "short"]' % (b"word " * 50)) == [("word " * 50).strip()]


def test_xml():
    pytest.importorskip("lxml", reason="the DocBook extractor is built on it")
    from studies.corpus.formats.xml import from_xml

    page = b"<page xmlns='x'><info><desc>no</desc></info><title>A <em>title</em></title><p>Text</p><screen> ls</screen></page>"
    assert from_xml(page) == ["A title", "Text", CODE + " ls"]


def test_formats_by_path():
    pytest.importorskip("selectolax", reason="the table lists the HTML extractors")
    pytest.importorskip("lxml", reason="the table lists the DocBook extractor")
    from studies.corpus.formats.table import format_of, paragraphs_of

    expected = {
        "usr/share/doc/x/index.html.gz": "html",
        "usr/share/man/man1/ls.1.gz": "man",
        "usr/share/dictd/wn.dict.dz": "dict",
        "x/README": "text",
        "x/README.md": "markup",
        "x/perl.pod": "pod",
        "x/help.docbook": "xml",
        "x/picture.png": "",
    }
    assert {path: format_of(path) for path in expected} == expected
    assert paragraphs_of(gzip.compress(b"Some text"), "text") == ["Some text"]
