"""Embedders of the sentence-transformers library."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from transformers.utils import logging

from workbench.embedders._texts import whole
from workbench.errors import InputError, MachineError
from workbench.records import digest


def build(name: str, *, batch_size: int = 8) -> SentenceEmbedder:
    """Any sentence-transformers model: a folder, or the name of a hub model where the network allows."""
    # Small batches stay in the CPU's cache: all-MiniLM-L6 on passages takes a fifth less CPU time by 8 than by 32.
    return SentenceEmbedder(load(name), batch_size=batch_size)


def load(name: str, *, local_files_only: bool = False) -> SentenceTransformer:
    """A model ready to embed on the CPU."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        return SentenceTransformer(name, device="cpu", local_files_only=local_files_only)
    except (OSError, ValueError) as error:
        raise MachineError(
            f"embedder {name!r} cannot be loaded: {str(error).partition(chr(10))[0]}; "
            "name a sentence-transformers folder, a hub model that this machine can reach or has cached, "
            "or a provider's model as langchain:provider:model"
        ) from error
    finally:
        if shown:
            logging.enable_progress_bar()


def _available_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class SentenceEmbedder:
    """Embeds with a loaded model, one call at a time: its tokenizer cannot be shared by threads."""

    def __init__(self, model: SentenceTransformer, *, batch_size: int = 8, weights_digest: str = "") -> None:
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; expected at least 1")
        self._model = model
        self._batch_size = batch_size
        self._lock = threading.Lock()
        self.digest = weights_digest or _digest(model)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of the texts, shape (texts, dimensions); longer texts are cut at the model's own limit."""
        if not texts:
            return np.empty((0, self._model.get_embedding_dimension() or 0), dtype=np.float32)
        with self._lock:
            # One question is too little work to share: threads would wait for each other more than they compute.
            torch.set_num_threads(1 if len(texts) == 1 else _available_cpus())
            vectors = self._model.encode(
                whole(texts),
                batch_size=self._batch_size,
                show_progress_bar=False,
                convert_to_numpy=True,
                normalize_embeddings=True,
            )
        return np.asarray(vectors, dtype=np.float32)


def _digest(model: SentenceTransformer) -> str:
    """Identifies the weights and how the modules around them are set up."""
    weights = model.state_dict()
    parts: list[str | bytes] = [repr(model)]
    for name in sorted(weights):
        parts += [name, weights[name].contiguous().view(torch.uint8).numpy().tobytes()]
    return digest(*parts)
