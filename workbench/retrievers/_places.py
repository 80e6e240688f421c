"""Where texts that somebody else found stand in the corpus."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

from workbench.records import Chunk, Corpus, Document

_NAMING = ("document_id", "doc_id", "id", "source", "file_path")


class Found(Protocol):
    """A document as LangChain gives it."""

    id: str | None
    page_content: str
    metadata: Mapping[str, Any]


class Places:
    """Where in a corpus a text stands; each text is looked for once."""

    def __init__(self, corpus: Corpus) -> None:
        self._by_id = {document.id: document for document in corpus.documents}
        self._chunks: dict[tuple[str, str], Chunk] = {}

    def chunk(self, found: Found) -> Chunk:
        """A found text as a chunk of the corpus, or as a text of its own without a document."""
        document = self._named(found)
        key = (document.id if document else "", found.page_content)
        if key not in self._chunks:
            self._chunks[key] = self._placed(found.page_content, document)
        return self._chunks[key]

    def _named(self, found: Found) -> Document | None:
        names = [str(found.metadata[key]) for key in _NAMING if key in found.metadata] + [str(found.id or "")]
        for name in names:
            parts = name.replace("\\", "/").split("/")
            for start in range(len(parts)):
                if document := self._by_id.get("/".join(parts[start:])):
                    return document
        return None

    def _placed(self, text: str, document: Document | None) -> Chunk:
        wanted = text.strip()
        candidates = [document] if document else [each for each in self._by_id.values() if wanted in each.text]
        for each in candidates:
            if place := _place(wanted, each.text):
                start, end = place
                return Chunk(
                    id=f"{each.id}#{start}-{end}",
                    document_id=each.id,
                    start=start,
                    end=end,
                    text=each.text[start:end],
                    title=each.title,
                )
        # An empty place: the document counts as found, but no span of it does.
        id, title = (document.id, document.title) if document else ("", "")
        return Chunk(id=f"{id}#{text}", document_id=id, start=0, end=0, text=text, title=title)


def _place(wanted: str, whole: str) -> tuple[int, int] | None:
    """Where a text stands in another one, whatever the white space between its words."""
    if not wanted:
        return None
    if (start := whole.find(wanted)) >= 0:
        return start, start + len(wanted)
    match = re.search(r"\s+".join(map(re.escape, wanted.split())), whole)
    return match.span() if match else None
