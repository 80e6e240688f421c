"""Reading files line by line and values out of rows, gathering each problem with its file and line.

Every reader yields records together with the place they stand at (``file:line``), so that later checks can name it.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from workbench.errors import InputError

_SHOWN = 50
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class Problems:
    """Everything found wrong so far, of which at most 50 are kept; ``check`` raises them together.

    ``notes`` are what a reader decided by itself and a user should know; they stop nothing.
    """

    def __init__(self) -> None:
        self.found: list[str] = []
        self.count = 0
        self.notes: list[str] = []

    def add(self, at: str | Path, problem: str) -> None:
        """Count a problem at a place."""
        self.count += 1
        if self.count <= _SHOWN:
            self.found.append(_printable(f"{at}: {problem}"))

    def note(self, at: str | Path, note: str) -> None:
        """Say something once about a place."""
        text = _printable(f"{at}: {note}")
        if text not in self.notes:
            self.notes.append(text)

    def check(self) -> None:
        """Raise ``InputError`` if there is any problem."""
        if self.count:
            more = self.count - len(self.found)
            raise InputError([*self.found, *([f"… and {more} more"] if more else [])])


def _printable(text: str) -> str:
    """A text that every terminal and file takes: half characters, as broken file names have, are replaced."""
    return text.encode(errors="replace").decode()


def lines(path: Path, problems: Problems) -> Iterator[tuple[int, str]]:
    """Each line with its number from 1, without its end; what is not UTF-8 is a problem and read with substitutes.

    Lines end at a line feed only: separators that JSON allows within a text cut none.
    """
    clean, offset = True, 0
    try:
        with path.open("rb") as file:
            for number, data in enumerate(file, 1):
                if number == 1 and data.startswith(_UTF16):
                    problems.add(path, "not UTF-8 at byte 0: it looks like UTF-16; save the file as UTF-8")
                    return
                try:
                    line = data.decode()
                except UnicodeDecodeError as error:
                    if clean:
                        problems.add(f"{path}:{number}", _wrong_byte(data, error.start, offset))
                    clean = False
                    line = data.decode(errors="replace")
                offset += len(data)
                yield number, (line.removeprefix("\ufeff") if number == 1 else line).removesuffix("\n")
    except OSError as error:
        problems.add(path, f"cannot be read: {error.strerror or error}")


def _wrong_byte(data: bytes, position: int, offset: int) -> str:
    return f"not UTF-8 at byte {offset + position} (0x{data[position]:02x}); save the file as UTF-8"


def whole(path: Path, problems: Problems) -> str:
    """The text of a file that cannot be read by lines; line ends become line feeds."""
    return "\n".join(line.removesuffix("\r") for _, line in lines(path, problems))


def json_lines(path: Path, problems: Problems) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each line's object with its place; lines that hold none are problems, blank ones are passed over."""
    for number, line in lines(path, problems):
        if not line.strip():
            continue
        at = f"{path}:{number}"
        try:
            row = parsed(line)
        except (ValueError, RecursionError) as error:
            column = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
            problems.add(
                at, f"not valid JSON: {getattr(error, 'msg', error)}{column}; every line must hold one whole object"
            )
            continue
        if isinstance(row, dict):
            yield at, row
        else:
            problems.add(at, f'found {shown(row)}; expected an object such as {{"id": …}}')


def parsed(text: str) -> Any:
    """A JSON value; raises ``ValueError`` also for half characters and NaN, which nothing later could write."""
    value = _DECODER.decode(text)
    if _SURROGATE.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError("an escape such as \\ud83d stands alone, which is half a character") from error
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number that JSON knows")


_DECODER = json.JSONDecoder(parse_constant=_no_number)


# ------------------------------------------------------------------------------------------------------ values of rows


def known_keys(at: str, row: Mapping[Any, Any], known: set[str], problems: Problems) -> None:
    """Refuse keys that mean nothing, naming the one that was probably meant."""
    for key in sorted(map(str, row.keys() - known)):
        close = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"expected {', '.join(sorted(known))}"
        problems.add(at, f"{key[:60]} is not a known key; {hint}")


def text(
    at: str, row: Mapping[Any, Any], key: str, problems: Problems, *, required: bool = True, empty: bool = True
) -> str:
    """A text; one that is not ``required`` may be missing, and ``empty`` says whether it may be blank."""
    value = row.get(key)
    if value is None and not required:
        return ""
    if key not in row:
        problems.add(at, f"{key} is missing; every entry needs one")
    elif not isinstance(value, str):
        problems.add(at, f"{key} is {shown(value)}; expected a text")
    elif (required or not empty) and not value.strip():
        problems.add(at, f"{key} is empty; give it a text or drop the entry")
    else:
        return value
    return ""


def identifier(at: str, row: Mapping[Any, Any], key: str, problems: Problems) -> str:
    """An id; whole numbers count as texts, as the public sets have both."""
    value = row.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text(at, row, key, problems)


def texts(at: str, row: Mapping[Any, Any], key: str, problems: Problems) -> tuple[str, ...]:
    """A list of texts, each once."""
    value = row.get(key)
    if value is None:
        return ()
    if not isinstance(value, list):
        problems.add(at, f"{key} is {shown(value)}; expected a list of texts")
        return ()
    for position, each in enumerate(value):
        if not isinstance(each, str) or not each.strip():
            problems.add(at, f"{key}[{position}] is {shown(each)}; expected a text that is not empty")
            return ()
    return tuple(dict.fromkeys(value))


def objects(at: str, row: Mapping[Any, Any], key: str, problems: Problems) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects in a list, each with its place; a missing list is an empty one."""
    value = row.get(key, [])
    if not isinstance(value, list):
        problems.add(at, f"{key} is {shown(value)}; expected a list")
        return
    separator = ": " if at.endswith(".json") else "."
    for position, each in enumerate(value):
        place = f"{at}{separator}{key}[{position}]"
        if isinstance(each, dict):
            yield place, each
        else:
            problems.add(place, f"found {shown(each)}; expected an object")


def shown(value: Any) -> str:
    """A value, shortened, as it stands in the file."""
    found = json.dumps(_cut(value, 4), ensure_ascii=False, default=str)
    return found if len(found) <= 60 else f"{found[:57]}…"


def _cut(value: Any, depth: int) -> Any:
    """The beginning of a value: one of a damaged file may be endless, or refer to itself."""
    if isinstance(value, str):
        return value[:60]
    if isinstance(value, dict):
        return {str(key)[:60]: _cut(value[key], depth - 1) for key in list(value)[:4]} if depth else "{…}"
    if isinstance(value, list | tuple):
        return [_cut(each, depth - 1) for each in value[:8]] if depth else "[…]"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**60:
        return "a number of more than 60 digits"
    return value
