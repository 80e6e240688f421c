"""Counting and locating tokens of one fixed vocabulary (o200k_base), the unit of chunk sizes and text budgets.

A model counts its own prompts with its own tokenizer; this one measures texts before any model is chosen.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

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
        starts += [done + start for start in _encoding().decode_with_offsets(_encode(piece))[1]]
        done += len(piece)
    return starts


def _encode(text: str) -> list[int]:
    tokens: list[int] = _encoding().encode_ordinary(text if text.isascii() else _SURROGATE.sub("\ufffd", text))
    return tokens


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
