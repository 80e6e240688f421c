"""Whole documents."""

from __future__ import annotations

from workbench.chunkers._pieces import piece
from workbench.records import Chunk, Document


def build() -> WholeDocuments:
    """Every document as one chunk."""
    return WholeDocuments()


class WholeDocuments:
    """Leaves documents whole."""

    def split(self, document: Document) -> list[Chunk]:
        """The document as its only chunk; none where there is no visible text."""
        return [piece(document, (0, len(document.text)))] if document.text.strip() else []
