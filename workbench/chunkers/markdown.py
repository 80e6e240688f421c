"""Chunks by the sections of Markdown documents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from workbench import tokens
from workbench.chunkers._pieces import Place, check_window, fits, piece, trimmed
from workbench.chunkers.sentences import Sentences
from workbench.records import Chunk, Document

_LINE = re.compile(r"(?P<content>[^\r\n]*+)(?:\r\n|\r|\n|(?<=[^\r\n])\Z)")
_FRONT_MATTER = re.compile(r"---[ \t]*\r?\n[\w-]+[ \t]*:.*?\n(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_HASHES = re.compile(r" {0,3}(#{1,6})(?=[ \t]|$)")
_UNDERLINE = re.compile(r" {0,3}(=++|-++)[ \t]*+$")
_FENCE = re.compile(r" {0,3}(`{3,}+(?=[^`]*$)|~{3,}+)")
_BLOCK = re.compile(r"[ \t]*(?:[>|#]|[-*+][ \t]|\d{1,9}[.)][ \t])| {4}|\t")  # what no underline makes a heading
_PATH = " > "
_BELOW_ALL = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """Where a heading lies, its level from 1 to 6, and its text."""

    start: int
    end: int
    level: int
    title: str


def build(*, chunk_tokens: int = 128, chunk_overlap: int = 0) -> Sections:
    """One chunk a section, under the headings it stands below; longer sections are cut between sentences.

    Headings are lines that begin with # to ###### and single lines underlined with = or -, never those inside fenced code. A
    chunk's title is the document's, then the path of headings. A heading without text of its own goes with the section that
    follows.
    """
    check_window(chunk_tokens, chunk_overlap)
    return Sections(chunk_tokens, chunk_overlap)


class Sections:
    """Cuts a document at its headings."""

    def __init__(self, size: int, overlap: int) -> None:
        self._size = size
        self._longer = Sentences(size, overlap)

    def split(self, document: Document) -> list[Chunk]:
        """The document's chunks in order; none for a document without visible text."""
        text = document.text
        starts: list[int] = []
        chunks = []
        for place, path in _sections(text):
            title = _PATH.join(path if path[:1] == (document.title,) else filter(None, (document.title, *path)))
            places = [place]
            if not fits(text, place, self._size):
                starts = starts or tokens.offsets(text)
                places = list(self._longer.places(text, starts, *place))
            chunks += [piece(document, each, title=title) for each in places]
        return chunks


def _sections(text: str) -> Iterator[tuple[Place, tuple[str, ...]]]:
    """Sections, from heading to heading, with the path of headings they stand below, outermost first."""
    path: dict[int, str] = {}
    begin = body = 0
    for heading in (*headings(text), Heading(start=len(text), end=len(text), level=_BELOW_ALL, title="")):
        if text[body : heading.start].strip():
            [place] = trimmed(text, [(begin, heading.start)])
            yield place, tuple(path.values())
            begin = heading.start
        body = heading.end
        path = {level: title for level, title in path.items() if level < heading.level}
        path |= {heading.level: heading.title} if heading.title else {}
    for place in trimmed(text, [(begin, len(text))]):  # headings with nothing below
        yield place, tuple(path.values())


def headings(text: str) -> Iterator[Heading]:
    """The headings of a Markdown text in order."""
    front = _FRONT_MATTER.match(text)
    fence = ""
    title: re.Match[str] | None = None  # the line before, if an underline would make it a heading
    fresh = True  # whether a paragraph would begin here
    for line in _LINE.finditer(text, front.end() if front else 0):
        content = line["content"]
        before, title = title, None
        if fence:
            closing = content.strip(" \t")
            if len(closing) >= len(fence) and not closing.strip(fence[0]):
                fence = ""
        elif opening := _FENCE.match(content):
            fence = opening[1]
        elif hashes := _HASHES.match(content):
            yield Heading(
                start=line.start(), end=line.end(), level=len(hashes[1]), title=_bare(content[hashes.end() :])
            )
        elif before and (underline := _UNDERLINE.match(content)):
            level = 1 if underline[1][0] == "=" else 2
            yield Heading(start=before.start(), end=line.end(), level=level, title=before["content"].strip())
        else:
            title = line if fresh and content.strip() and not _BLOCK.match(content) else None
            fresh = not content.strip()
            continue
        fresh = True


def _bare(title: str) -> str:
    """A heading's text without the # that may close it."""
    title = title.strip()
    closed = title.rstrip("#")
    return closed.rstrip() if not closed or closed[-1] in " \t" else title
