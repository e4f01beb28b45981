"""DocBook and Mallard."""

from lxml import etree

from .paragraph import listing, squeeze

LISTINGS = frozenset({"screen", "programlisting", "literallayout"})
BLOCKS = LISTINGS | {"para", "p", "title", "simpara", "term", "desc"}
SKIPPED = frozenset({"info", "bookinfo", "articleinfo", "indexterm", "media", "mediaobject", "credit"})


def from_xml(data: bytes) -> list[str]:
    """The text of the block elements, outermost first; nothing if the file can't be parsed."""
    parser = etree.XMLParser(recover=True, load_dtd=False, no_network=True, resolve_entities=False, huge_tree=True)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError:
        return []
    return [] if root is None else _walk(root)


def _walk(node) -> list[str]:
    name = etree.QName(node).localname if isinstance(node.tag, str) else ""
    if name in SKIPPED or not name:
        return []
    if name not in BLOCKS:
        return [paragraph for child in node for paragraph in _walk(child)]
    text = "".join(node.itertext())
    if name in LISTINGS:
        return [listing(text)]
    return [squeeze(text)] if squeeze(text) else []
