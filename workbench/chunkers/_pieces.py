"""What chunkers share: their window's rules, and chunks made of places in a document."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from workbench import tokens
from workbench.errors import InputError
from workbench.records import Chunk, Document

SMALLEST = 4  # tokens: one character can take as many
VISIBLE = re.compile(r"\S")

Place = tuple[int, int]
"""Where a piece starts and ends in its document's text, in characters."""


class Cutter(Protocol):
    """Cuts a part of a text into places that together cover all of its visible text.

    ``starts`` are the tokens' positions in the whole text (``tokens.offsets``), computed once a document.
    """

    def places(self, text: str, starts: list[int], begin: int, finish: int) -> Iterator[Place]: ...


def check_window(chunk_tokens: int, chunk_overlap: int, problems: Sequence[str] = ()) -> None:
    """Refuse windows that no text can be cut into, together with what else is wrong."""
    found = []
    if chunk_tokens < SMALLEST:
        found.append(f"chunk_tokens is {chunk_tokens}; expected at least {SMALLEST} (one character can take that many)")
    if chunk_overlap < 0:
        found.append(f"chunk_overlap is {chunk_overlap}; expected 0 or more")
    elif chunk_overlap >= chunk_tokens:
        found.append(f"chunk_overlap is {chunk_overlap}; expected less than chunk_tokens, which is {chunk_tokens}")
    found += problems
    if found:
        raise InputError(found)


def piece(document: Document, place: Place, *, title: str | None = None, parent: Chunk | None = None) -> Chunk:
    """The chunk of a document that lies at a place."""
    start, end = place
    return Chunk(
        id=f"{document.id}#{start}-{end}",
        document_id=document.id,
        start=start,
        end=end,
        text=document.text[start:end],
        title=document.title if title is None else title,
        parent=parent,
    )


def trimmed(text: str, places: Iterable[Place]) -> Iterator[Place]:
    """The places without the white space around them; those that hold nothing else are left out."""
    for start, end in places:
        part = text[start:end]
        bare = part.strip()
        if bare:
            start += len(part) - len(part.lstrip())
            yield start, start + len(bare)


def fits(text: str, place: Place, size: int) -> bool:
    """Whether what lies at a place has at most so many tokens when it stands alone."""
    return tokens.count(text[slice(*place)]) <= size
