"""Python modules: their docstrings, and long strings that are documentation in YAML."""

import ast
import inspect
import re

from .paragraph import decode
from .plain import from_markup

_YAML_STARTS = ("module:", "name:", "options:", "author:")
_YAML_DATA = r"^\s*(required|type|default|choices|elements|version_added|aliases|author|env|ini|key|section|requirements):.*$"
_YAML_HEADS = r"^\s*(-\s|[a-z_]+:\s*$|description:|notes:|short_description:)"


def from_pydoc(data: bytes) -> list[str]:
    """Every string of more than 200 characters, breadth first; nothing if the module can't be parsed."""
    try:
        tree = ast.parse(decode(data))
    except (SyntaxError, ValueError):
        return []
    constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    texts = (value for value in constants if isinstance(value, str) and len(value) > 200)
    return [p for text in texts for p in from_markup(inspect.cleandoc(_without_yaml(text)))]


def from_ansible(data: bytes) -> list[str]:
    """A file of an Ansible collection: a module with documentation, or else a page in light markup."""
    text = decode(data)
    return from_pydoc(data) if "DOCUMENTATION" in text or "def " in text else from_markup(text)


def _without_yaml(text: str) -> str:
    """The prose of documentation written in YAML; any other text as it is."""
    if not text.lstrip("\r\n-").startswith(_YAML_STARTS) and "\ndescription:" not in text:
        return text
    text = re.sub(_YAML_DATA, "", text, flags=re.M)
    text = re.sub(_YAML_HEADS, "\n", text, flags=re.M)
    return re.sub(r"\b[A-Z]\(([^()]*)\)", r"\1", text)
