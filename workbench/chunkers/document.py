"""Whole documents."""

from __future__ import annotations

from workbench.records import Chunk, Document


def build() -> WholeDocuments:
    """Every document as one chunk."""
    return WholeDocuments()


class WholeDocuments:
    """Leaves documents whole."""

    def split(self, document: Document) -> list[Chunk]:
        """The document as its only chunk; none where there is no visible text."""
        if not document.text.strip():
            return []
        return [
            Chunk(
                id=f"{document.id}#0-{len(document.text)}",
                document_id=document.id,
                start=0,
                end=len(document.text),
                text=document.text,
                title=document.title,
            )
        ]
