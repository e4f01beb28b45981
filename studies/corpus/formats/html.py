"""HTML: what a reader sees in the middle of the page, block by block."""

import io
import re
import zipfile

from selectolax.lexbor import LexborHTMLParser

from .paragraph import CODE, decode, listing, squeeze
from .plain import from_text

NAVIGATION = ",".join(
    """script style noscript nav footer form button select textarea svg iframe object head
    .headerlink .sphinxsidebar .related .navheader .navfooter .navigation .nav .navbar .toc .toctree-wrapper
    .footer .sidebar .breadcrumbs .breadcrumb .linenos .linenodiv .indextable .contents.topic .contents.local ul.contents
    .topnav .subnav .bottomnav .bottomNav .topNav .subNav .menu #sidebar #navigation #footer #nav #toc .skip .skipNav
    .sr-only .nav-wrapper .wy-nav-side .prev-next-area .sidebar-wrapper .mw-editsection .t-navbar .t-nv-begin
    .navbox .printfooter .viewcode-link .lineno .sourceline .copyright .headeranchor .anchor .self-link
    .reftitle-nav .langs-current .related-pages .tocset .navset .versionbox .search-bar .theme-picker
    .memproto-icons .breadcrumbs_html .toc-backref .edit-link #qlang #path .up .backtotop""".split()  # noqa: SIM905
)
MAIN = ("div[role=main]", "main", "article", "div.body", "div#content", "div#mw-content-text", "#page-content")
BLOCKS = (
    "p,div,section,article,h1,h2,h3,h4,h5,h6,ul,ol,dl,dt,table,blockquote,figure,figcaption,caption,"
    "hr,center,address,details,summary,body,main,fieldset"
)

# Control characters that stand in the flattened text for the ends of lines and blocks, and around a listing's number.
_LINE, _BLOCK, _LISTING = "\x02", "\x03", "\x01"
_BULLET = re.compile(_LINE + r"- [\s" + _BLOCK + _LINE + "]*")


def from_html(data: bytes | str) -> list[str]:
    """The paragraphs of a page's main part, without navigation."""
    body = LexborHTMLParser(data if isinstance(data, str) else decode(data)).body
    if body is None:
        return []
    for node in body.css(NAVIGATION):
        node.decompose()
    root = _main_part(body)
    listings = _take_listings(root)
    _mark_layout(root)
    flat = _BULLET.sub(_LINE + "- ", root.text(separator=""))
    return [p for block in flat.split(_BLOCK) if (p := _paragraph(block, listings))]


def _main_part(body):
    """The first element that calls itself the main part, if it holds a good share of the text."""
    for selector in MAIN:
        found = body.css_first(selector)
        if found is not None:
            return found if len(found.text()) > 0.3 * len(body.text()) else body
    return body


def _take_listings(root) -> list[str]:
    """Replace the listings below `root` by their numbers, and return them."""
    listings = []
    for node in root.css("pre,listing,xmp"):
        code = listing(node.text())
        node.replace_with(f"{_BLOCK}{_LISTING}{len(listings)}{_LISTING}{_BLOCK}")
        listings.append(code)
    return listings


def _mark_layout(root) -> None:
    """Insert the marks of lines and blocks below `root`."""
    for node in root.css("br"):
        node.replace_with(_LINE)
    for node in root.css("li"):
        node.insert_before(_LINE + "- ")
    for node in root.css("dd,tr"):
        node.insert_before(_LINE)
    for node in root.css("td,th"):
        node.insert_after("  ")
    for node in root.css(BLOCKS):
        node.insert_before(_BLOCK)
        node.insert_after(_BLOCK)


def _paragraph(block: str, listings: list[str]) -> str:
    if block.startswith(_LISTING) and block.rstrip().endswith(_LISTING):
        code = listings[int(block.strip().strip(_LISTING))]
        return code if code != CODE else ""
    lines = [squeeze(line.replace(_LISTING, " ")) for line in block.split(_LINE)]
    return "\n".join(line for line in lines if line and line != "-")


def from_htmlpre(data: bytes) -> list[str]:
    """Pages that are one big listing of prose, such as Vim's help."""
    return [p for node in LexborHTMLParser(decode(data)).css("pre") for p in from_text(node.text())]


def from_epub(data: bytes) -> list[str]:
    """The pages of an e-book in the order of their names."""
    with zipfile.ZipFile(io.BytesIO(data)) as book:
        pages = sorted(name for name in book.namelist() if name.endswith((".xhtml", ".html", ".htm")))
        return [p for name in pages for p in from_html(book.read(name))]
