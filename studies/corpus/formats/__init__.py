"""From the bytes of a documentation file to its paragraphs: one module per family of formats, and their table."""
