"""The Python language reference as Python itself ships it, read at run time."""

from __future__ import annotations

from collections.abc import Iterator
from pydoc_data.topics import topics

from workbench.records import Document

_MARKUP = str.maketrans("", "", '"*`')


def documents() -> Iterator[Document]:
    """One document per chapter: its name in pydoc, its heading, its text."""
    for name in sorted(topics):
        text = topics[name]
        heading = text.strip().partition("\n")[0]
        yield Document(id=name, title=heading.translate(_MARKUP).strip(), text=text)
