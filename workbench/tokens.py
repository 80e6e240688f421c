"""Counting and locating tokens of one fixed vocabulary (o200k_base), the unit of chunk sizes and text budgets.

A model counts its own prompts with its own tokenizer; this one measures texts before any model is chosen.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

VOCABULARY = "o200k_base"

_PIECE = 50_000  # characters: at up to four tokens each, this stays within the library's limit of 200,000 tokens a call
_SURROGATE = re.compile("[\ud800-\udfff]")  # half characters, which no vocabulary knows


def count(text: str) -> int:
    """Number of tokens in a text."""
    if len(text) <= _PIECE:
        return len(_encode(text))
    return sum(len(_encode(piece)) for piece in _pieces(text))


def offsets(text: str) -> list[int]:
    """Character position at which every token starts; one that starts inside a character counts from its beginning."""
    starts: list[int] = []
    done = 0
    for piece in _pieces(text):
        encoded = _encode(piece)
        ends = np.cumsum(_byte_lengths()[encoded])
        begins = np.concatenate(([0], ends[:-1])) if encoded else ends
        if not piece.isascii():
            raw = np.frombuffer(_whole(piece).encode(), dtype=np.uint8)
            begins = np.cumsum((raw & 0xC0) != 0x80)[begins] - 1  # characters begun so far, this byte's included
        starts += (begins + done).tolist()
        done += len(piece)
    return starts


def _encode(text: str) -> list[int]:
    tokens: list[int] = _encoding().encode_ordinary(text if text.isascii() else _whole(text))
    return tokens


def _whole(text: str) -> str:
    """The text without half characters, each replaced by one that says so."""
    return _SURROGATE.sub("\ufffd", text)


@cache
def _byte_lengths() -> NDArray[np.int64]:
    """How many bytes every token of the vocabulary stands for."""
    return np.fromiter(map(len, _encoding().token_byte_values()), dtype=np.int64)


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
def _encoding() -> Any:
    # The library takes half a second to load, which only those who count should pay.
    return importlib.import_module("bpe_openai").get_encoding(VOCABULARY)
