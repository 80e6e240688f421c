"""A folder of files, or one file, as a corpus: one document a file, named by its path within the folder."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from workbench.readers._lines import Problems, whole
from workbench.readers._rows import NO_METADATA, Asked, Columns
from workbench.records import Document
from workbench.registry import require

# Every expression is tried once per place at most: a damaged file of any size must not keep a reader busy for long.
_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(.+)$|^(\S.*)\n(?:=+|-+)[ \t]*$", re.MULTILINE)
_UNDERLINED = re.compile(r"^(\S.*)\n([=\-~^\"'`:.*+#_])\2{2,}[ \t]*$", re.MULTILINE)
_FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_FRONT = re.compile(r"\A---\n.*?^---$", re.MULTILINE | re.DOTALL)
_TITLES = tuple(
    (re.compile(rf"<{tag}\b[^<>]*>", re.IGNORECASE), re.compile(rf"</{tag}\b", re.IGNORECASE))
    for tag in ("title", "h1")
)
_CHARSET = re.compile(
    rb"""<meta[^>]{0,200}charset=["']?(iso-8859-\d+|windows-\d+|latin-?1|gbk|gb2312|gb18030|big5|shift_jis|euc-jp|euc-kr|koi8-[ru])\b""",
    re.IGNORECASE,
)
_MARKUP = str.maketrans("", "", "*`")
_HEAD = 4096  # bytes in which an encoding must be named
_TITLE = 300  # characters that a title may have


def holds(path: Path, columns: Columns) -> frozenset[str]:
    """``documents`` where there is a file that can be read."""
    return frozenset({"documents"}) if next(_files(path, Counter()), None) else frozenset()


def documents(path: Path, columns: Columns, problems: Problems) -> Iterator[tuple[str, Document]]:
    """Every file that can be read, in the order of its path; the others are counted in a note."""
    others: Counter[str] = Counter()
    for file in _files(path, others):
        name = file.relative_to(path).as_posix() if file != path else file.name
        if not _is_text(name):
            problems.add(file, "the file's name is not UTF-8; rename it, as the name becomes the document's id")
            continue
        before = problems.count
        title, body = _READ[file.suffix.lower()](file, problems)
        if problems.count > before:
            continue
        if body.strip():
            title = " ".join(title.split())[:_TITLE] or file.stem
            yield str(file), Document(id=name, title=title, text=body, metadata=NO_METADATA)
        else:
            problems.add(
                file, "there is no text in it; drop the file, or let a program recognise the text of its pictures"
            )
    if others:
        what = ", ".join(f"{count} {suffix or 'without an ending'}" for suffix, count in sorted(others.items())[:10])
        problems.note(path, f"passed over {others.total()} files of other kinds: {what}")


def questions(path: Path, columns: Columns, problems: Problems) -> Iterator[Asked]:
    """None: a folder of documents holds no questions."""
    problems.add(path, "documents hold no questions; name a file or folder with questions")
    return iter(())


def _files(path: Path, others: Counter[str]) -> Iterator[Path]:
    """Regular files of known kinds below a path; what is hidden is left out, links to folders are not followed."""
    if path.is_file():
        yield from [path] if path.suffix.lower() in _READ else []
        return
    for folder, inside, names in os.walk(path):
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        for name in sorted(names):
            file = Path(folder, name)
            if name.startswith(".") or not file.is_file():
                continue
            if file.suffix.lower() in _READ:
                yield file
            else:
                others[file.suffix.lower()] += 1


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _plain(file: Path, problems: Problems) -> tuple[str, str]:
    return "", whole(file, problems)


def _markdown(file: Path, problems: Problems) -> tuple[str, str]:
    text = whole(file, problems)
    found = _HEADING.search(_FENCED.sub("", _FRONT.sub("", text)))
    return (found[1] or found[2]).rstrip("# \t").translate(_MARKUP) if found else "", text


def _restructured(file: Path, problems: Problems) -> tuple[str, str]:
    text = whole(file, problems)
    found = _UNDERLINED.search(text)
    return found[1] if found else "", text


def _html(file: Path, problems: Problems) -> tuple[str, str]:
    source = _decoded(file, problems)
    get_text: Callable[[str], str] = require("inscriptis", f"{file}: reading HTML").get_text
    try:
        return get_text(_html_title(source)), get_text(source).strip()
    except Exception as error:  # whatever the library stumbles over is the file's fault
        problems.add(file, f"not HTML that can be read: {type(error).__name__}: {error}")
        return "", ""


def _html_title(source: str) -> str:
    for opening, closing in _TITLES:
        start = opening.search(source)
        end = start and closing.search(source, start.end())
        if start and end:
            return source[start.end() : min(end.start(), start.end() + _TITLE)]
    return ""


def _decoded(file: Path, problems: Problems) -> str:
    """HTML may say its encoding; without a word it is UTF-8 like everything."""
    try:
        with file.open("rb") as opened:
            head = opened.read(_HEAD)
        charset = _CHARSET.search(head)
        if charset:
            return file.read_text(encoding=charset[1].decode(), errors="strict")
    except (OSError, UnicodeError, LookupError):
        pass  # told by what follows
    return whole(file, problems)


def _pdf(file: Path, problems: Problems) -> tuple[str, str]:
    reader_of: Callable[[Path], Any] = require("pypdf", f"{file}: reading PDF").PdfReader
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it writes a line about every slip it mends
    try:
        reader = reader_of(file)
        if reader.is_encrypted and not reader.decrypt(""):
            problems.add(file, "it is locked with a password; save it without one")
            return "", ""
        pages = [page.extract_text().strip() for page in reader.pages]
        title = str((reader.metadata or {}).get("/Title") or "")
    except Exception as error:  # whatever the library stumbles over is the file's fault
        problems.add(file, f"not a PDF that can be read: {type(error).__name__}: {error}")
        return "", ""
    empty = sum(not page for page in pages)
    if 0 < empty < len(pages):
        problems.note(file, f"{empty} of {len(pages)} pages hold no text, as scanned ones do")
    return _encodable(title), _encodable("\n\n".join(page for page in pages if page))


def _encodable(text: str) -> str:
    """Without the half characters that a font's damaged table may give."""
    return text.encode(errors="replace").decode()


_READ: Mapping[str, Callable[[Path, Problems], tuple[str, str]]] = {
    ".md": _markdown,
    ".markdown": _markdown,
    ".txt": _plain,
    ".rst": _restructured,
    ".html": _html,
    ".htm": _html,
    ".pdf": _pdf,
}
"""How each kind of file is read: to its title, if it has one, and its text."""

KINDS = tuple(_READ)
"""The endings of the files that can be read."""
