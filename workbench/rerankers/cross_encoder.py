"""Reranking by a cross-encoder, which reads question and passage together."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

import numpy as np
import torch
from sentence_transformers import CrossEncoder
from transformers.utils import logging

from workbench.booking import stage
from workbench.contracts import Tools
from workbench.errors import InputError, MachineError
from workbench.records import Passage
from workbench.rerankers._scoring import ranked
from workbench.retrievers._ranking import searchable

needs: frozenset[str] = frozenset()
"""What this reranker depends on."""


def build(tools: Tools, name: str, *, batch_size: int = 8) -> ByCrossEncoder:
    """Any sentence-transformers cross-encoder: a folder, or the name of a hub model where the network allows."""
    if batch_size < 1:
        raise InputError(f"cross_encoder: batch_size is {batch_size}; expected at least 1")
    model = _load(name)
    labels = model.num_labels
    if labels != 1:
        raise InputError(f"cross_encoder:{name} gives {labels} scores for a pair; expected a model for ranking, with 1")
    return ByCrossEncoder(model, batch_size)


def _load(name: str) -> CrossEncoder:
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        return CrossEncoder(name, device="cpu")
    except (OSError, ValueError) as error:
        raise MachineError(
            f"cross-encoder {name!r} cannot be loaded: {str(error).partition(chr(10))[0]}; "
            "name a sentence-transformers folder, or a hub model that this machine can reach or has cached"
        ) from error
    finally:
        if shown:
            logging.enable_progress_bar()


class ByCrossEncoder:
    """Scores pairs with a loaded model, one call at a time: its tokenizer cannot be shared by threads."""

    def __init__(self, model: CrossEncoder, batch_size: int) -> None:
        self._model = model
        self._batch_size = batch_size
        self._lock = threading.Lock()

    def rerank(self, question: str, passages: Sequence[Passage]) -> list[Passage]:
        """The passages by descending score of the model; what is longer than it reads is cut at its own limit."""
        if not passages:
            return []
        with stage("rerank"):
            pairs = [(question, searchable(passage.chunk)) for passage in passages]
            with self._lock:
                torch.set_num_threads(_available_cpus())
                scores = self._model.predict(pairs, batch_size=self._batch_size, show_progress_bar=False)
            return ranked(zip(passages, np.asarray(scores, dtype=np.float64).tolist(), strict=True))


def _available_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
