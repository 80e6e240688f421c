"""What embedders share: texts that every tokenizer takes, and vectors of unit length."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

_SURROGATE = re.compile("[\ud800-\udfff]")  # half characters, which no tokenizer takes


def whole(texts: Sequence[str]) -> list[str]:
    """The texts with a replacement for half characters."""
    return [text if text.isascii() else _SURROGATE.sub("\ufffd", text) for text in texts]


def unit(vectors: ArrayLike) -> NDArray[np.float32]:
    """The rows of a matrix at unit length, as float32; a row without direction is refused with ``ValueError``."""
    rows = np.atleast_2d(np.asarray(vectors, dtype=np.float64))
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise ValueError("a vector has no direction: its length is 0 or no number")
    return np.asarray(rows / lengths, dtype=np.float32)
