"""Counting and locating tokens of one fixed vocabulary (o200k_base), the unit of chunk sizes and text budgets.

A model counts its own prompts with its own tokenizer; this one measures texts before any model is chosen.
"""

from __future__ import annotations

import binascii
import gzip
import re
from collections.abc import Iterator
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

VOCABULARY = "o200k_base"

_PIECE = 50_000  # characters in one call of the library
_SURROGATE = re.compile("[\ud800-\udfff]")  # half characters, which no vocabulary knows


def count(text: str) -> int:
    """Number of tokens in a text."""
    counted = _tokenizer().count
    if len(text) > _PIECE:
        return sum(counted(_whole(piece)) for piece in _pieces(text))
    try:
        number: int = counted(text)
    except UnicodeEncodeError:
        number = counted(_whole(text))
    return number


def offsets(text: str) -> list[int]:
    """Character position at which every token starts; one that starts inside a character counts from its beginning."""
    starts: list[int] = []
    done = 0
    for piece in _pieces(text):
        encoded = _tokenizer().encode(_whole(piece))
        ends = np.cumsum(_byte_lengths()[encoded])
        begins = np.concatenate(([0], ends[:-1])) if encoded else ends
        if not piece.isascii():
            raw = np.frombuffer(_whole(piece).encode(), dtype=np.uint8)
            begins = np.cumsum((raw & 0xC0) != 0x80)[begins] - 1  # characters begun so far, this byte's included
        starts += (begins + done).tolist()
        done += len(piece)
    return starts


def _whole(text: str) -> str:
    """The text without half characters, each replaced by one that says so."""
    return _SURROGATE.sub("\ufffd", text)


@cache
def _byte_lengths() -> NDArray[np.int64]:
    """How many bytes every token of the vocabulary stands for."""
    tokens = gzip.decompress((_folder() / "data" / f"{VOCABULARY}.tiktoken.gz").read_bytes()).split()[::2]
    return np.fromiter(
        map(len, map(binascii.a2b_base64, tokens)), dtype=np.int64
    )  # they stand in the order of their numbers


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > _PIECE:
        cut = _last_single_space(text, start + _PIECE // 2, start + _PIECE)
        yield text[start:cut]
        start = cut
    yield text[start:]


def _last_single_space(text: str, low: int, high: int) -> int:
    """The last place where two tokens always part, so that cutting there changes none; else ``high``."""
    for position in range(high, low, -1):
        before, after = text[position - 1], text[position + 1 : position + 2]
        if text[position] == " " and not before.isspace() and not after.isspace():
            return position
    return high


@cache
def _tokenizer() -> Any:
    # The library's Python part reads three vocabularies into dictionaries, which takes six times as long as what is needed
    # here: its compiled part alone.
    spec = PathFinder.find_spec("bpe_openai._bindings", [str(_folder())])
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError("bpe_openai has no compiled part for this machine", name="bpe_openai")
    bindings = module_from_spec(spec)
    spec.loader.exec_module(bindings)
    return bindings.tokenizer_for_encoding(VOCABULARY)


def _folder() -> Path:
    """Where the library is; finding a package does not import it."""
    spec = find_spec("bpe_openai")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("bpe_openai is not installed", name="bpe_openai")
    return Path(spec.origin).parent
