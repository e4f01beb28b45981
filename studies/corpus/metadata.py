"""The licence that a wheel or an npm package names in its own metadata.

Wheels: https://packaging.python.org/en/latest/specifications/core-metadata/; npm: the field "license" of package.json.
"""

import email.parser
import json

METADATA = r"^[^/]+\.dist-info/METADATA$|^[^/]+/package\.json$"

# The classifiers of PyPI that say enough, as expressions; any other stays as it is, and is no expression that passes.
CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Python Software Foundation License": "PSF",
}


def licence_named_in(path: str, text: str) -> str:
    """The expression that a METADATA or package.json file names; empty if it names none."""
    return _of_npm(text) if path.endswith(".json") else _of_wheel(text)


def _of_wheel(text: str) -> str:
    """Its expression; without one its classifiers, all of which count; without those its free field."""
    fields = email.parser.HeaderParser().parsestr(text)
    if expression := fields.get("License-Expression"):
        return _plain(expression)
    classifiers = [value.split(" :: ")[-1] for value in fields.get_all("Classifier", []) if value.startswith("License ::")]
    if classifiers:
        return " and ".join(CLASSIFIERS.get(name, name) for name in classifiers)
    return _plain(fields.get("License", ""))


def _of_npm(text: str) -> str:
    licence = json.loads(text).get("license", "")
    return _plain(licence if isinstance(licence, str) else licence.get("type", ""))


def _plain(expression: str) -> str:
    """Without the parentheses around the whole; one inside stays, and makes a name that doesn't pass."""
    return expression.strip().removeprefix("(").removesuffix(")")
