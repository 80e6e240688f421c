"""Embedders that metrics share: loaded once a process, each text embedded once, the work booked to the stage ``score``."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from workbench import registry
from workbench.booking import stage
from workbench.contracts import Embedder
from workbench.records import PluginChoice

_MOST_TEXTS = 16384  # whose vectors are kept: configurations share accepted answers, passages and often answers

_loaded: dict[str, Embedder] = {}
_known: dict[tuple[str, str], NDArray[np.float32]] = {}
_lock = threading.RLock()


def load(choice: PluginChoice) -> Embedder:
    """The embedder of a choice; two metrics that name the same one get the same."""
    key = json.dumps(choice, sort_keys=True)
    with _lock:
        if key not in _loaded:
            _loaded[key] = registry.build("embedders", choice)
        return _loaded[key]


def similarities(embedder: Embedder, ours: Sequence[str], theirs: Sequence[str]) -> NDArray[np.float32]:
    """Cosines of every text of ``ours`` with every text of ``theirs``, clipped to 0..1; shape (ours, theirs)."""
    with _lock:
        return (_vectors(embedder, ours) @ _vectors(embedder, theirs).T).clip(0.0, 1.0)


def _vectors(embedder: Embedder, texts: Sequence[str]) -> NDArray[np.float32]:
    missing = [text for text in dict.fromkeys(texts) if (embedder.digest, text) not in _known]
    found = {text: _known[embedder.digest, text] for text in texts if text not in set(missing)}
    if missing:
        with stage("score"):
            found |= zip(missing, embedder.embed(missing), strict=True)
        if len(_known) + len(missing) > _MOST_TEXTS:
            _known.clear()
        _known.update(((embedder.digest, text), found[text]) for text in missing)
    return np.stack([found[text] for text in texts])
