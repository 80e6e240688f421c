"""Indexes over one corpus: each distinct chunking, embedding and index is built once, shared, and cached by content."""

from __future__ import annotations

import inspect
import itertools
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench import registry
from workbench.contracts import Embedder, Meter, Retriever, Sources
from workbench.errors import InputError
from workbench.ledger import Recorder
from workbench.records import Chunk, Configuration, Corpus, OneOff, PluginChoice, digest, plugin_label, plugin_name
from workbench.retrievers import _cache

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LAYOUT = "1"  # to be raised when the files of an index or the text it is made of change without their plugin changing
_ALL_NEEDS = frozenset({"embedder", "index"})


class Indexes:
    """Retrievers by configuration, over one corpus.

    ``folder`` keeps indexes and embeddings between runs (``None``: in memory only). ``record`` is given every one-off
    piece of work that was really done, with its reading; what came from the cache is not. Threads may share it.
    """

    def __init__(self, corpus: Corpus, folder: Path | None, record: Callable[[OneOff], None], meter: Meter) -> None:
        self._corpus = corpus
        self._folder = folder
        self._record = record
        self._recorder = Recorder(meter)
        self._lock = threading.RLock()
        self._windows = itertools.count()
        self._of_configuration: dict[str, Retriever | None] = {}
        self._retrievers: dict[str, Retriever] = {}
        self._embedders: dict[str, Embedder] = {}
        self._chunks: dict[str, Sequence[Chunk]] = {}

    def retriever(self, configuration: Configuration) -> Retriever | None:
        """The retriever of a configuration; ``None`` for closed book."""
        if configuration.id not in self._of_configuration:
            with self._lock:
                choice = configuration["retriever"]
                none = plugin_name(choice) == "none"
                self._of_configuration[configuration.id] = None if none else self._retriever(configuration, choice)
        return self._of_configuration[configuration.id]

    def chunks(self, configuration: Configuration) -> Sequence[Chunk]:
        """The corpus as a configuration cuts it."""
        with self._lock:
            return self._cut(_chunking(configuration))

    def embedder(self, choice: PluginChoice) -> Embedder:
        """An embedder by name, loaded once."""
        with self._lock:
            key = _canonical(choice)
            if key not in self._embedders:
                with self._once("load", plugin_label(choice)):
                    loaded = registry.build("embedders", choice)
                self._embedders[key] = _Remembering(loaded, self._folder and self._folder / "vectors")
            return self._embedders[key]

    def _retriever(self, configuration: Configuration, choice: PluginChoice) -> Retriever:
        module, _ = registry.load("retrievers", choice)
        needs: frozenset[str] = getattr(module, "needs", _ALL_NEEDS)
        chunking = _chunking(configuration)
        embedder: PluginChoice = configuration["embedder"] if "embedder" in needs else ""
        index: str = configuration["index"] if "index" in needs else ""
        parts = [_canonical(part) for part in (choice, chunking, embedder, index)]
        key = "\n".join(parts)
        if key not in self._retrievers:
            folder = None
            if self._folder is not None:
                versions = registry.version("retrievers", choice), registry.version("chunkers", chunking)
                weights = self.embedder(embedder).digest if embedder else ""
                folder = self._folder / digest(_LAYOUT, self._corpus.digest, *parts, *versions, weights)
            sources = Sources(
                chunks=self._cut(chunking),
                index=index or configuration["index"],
                folder=folder,
                embedder=partial(self.embedder, configuration["embedder"]),
                retriever=partial(self._retriever, configuration),
            )
            what = ", ".join(plugin_label(part) for part in (choice, index, embedder, chunking) if part)
            before = _identity(folder)
            with self._once(
                "index", f"{self._corpus.name}: {what}", lambda: folder is None or _identity(folder) != before
            ):
                self._retrievers[key] = registry.build("retrievers", choice, sources)
        return self._retrievers[key]

    def _cut(self, chunking: PluginChoice) -> Sequence[Chunk]:
        key = _canonical(chunking)
        if key not in self._chunks:
            chunker = registry.build("chunkers", chunking)
            with self._once("chunk", f"{self._corpus.name}: {plugin_label(chunking)}"):
                chunks = tuple(chunk for document in self._corpus.documents for chunk in chunker.split(document))
            if not chunks:
                raise InputError(
                    f"corpus {self._corpus.name}: {plugin_label(chunking)} leaves no chunk; there is no text to search"
                )
            self._chunks[key] = chunks
        return self._chunks[key]

    @contextmanager
    def _once(self, work: str, what: str, done: Callable[[], bool] = lambda: True) -> Iterator[None]:
        """Measure one-off work and record it if it was done; work inside other work suspends the outer window."""
        window = str(next(self._windows))
        self._recorder.enter(window)
        try:
            yield
        finally:
            self._recorder.leave()
        reading = self._recorder.stages().get(window)
        if reading is not None and done():
            self._record(OneOff(work=work, what=what, reading=reading))


class _Remembering:
    """An embedder that embeds the same passages once: indexes of several kinds share them. Questions pass through."""

    def __init__(self, embedder: Embedder, folder: Path | None) -> None:
        self._embedder = embedder
        self._folder = folder
        self._known: dict[str, NDArray[np.float32]] = {}
        self.digest = embedder.digest

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if len(texts) == 1:
            return self._embedder.embed(texts)
        key = digest(self.digest, *texts)
        if self._folder is None:
            if key not in self._known:
                self._known[key] = self._embedder.embed(texts)
            return self._known[key]
        folder = self._folder / key
        vectors = _stored(folder, len(texts))
        if vectors is None:
            vectors = self._embedder.embed(texts)
            _cache.store(folder, lambda fresh: np.save(fresh / "vectors.npy", vectors, allow_pickle=False))
        return vectors


def _stored(folder: Path, expected: int) -> NDArray[np.float32] | None:
    if not _cache.intact(folder):
        return None
    try:
        vectors: NDArray[np.float32] = np.load(folder / "vectors.npy", allow_pickle=False)
    except (OSError, ValueError):
        return None
    return vectors if len(vectors) == expected else None


def _chunking(configuration: Configuration) -> PluginChoice:
    """The chunker of a configuration with those of the chunking axes that it accepts."""
    choice: PluginChoice = configuration["chunker"]
    module, _ = registry.load("chunkers", choice)
    accepted = inspect.signature(module.build).parameters
    axes = {axis: configuration[axis] for axis in ("chunk_tokens", "chunk_overlap") if axis in accepted}
    own = {"name": choice} if isinstance(choice, str) else choice
    return {**axes, **own}


def _canonical(choice: Any) -> str:
    """A choice as one text: a name, and the mapping that says no more than that name, are the same."""
    if isinstance(choice, dict) and choice.keys() == {"name"}:
        choice = choice["name"]
    return json.dumps(choice, sort_keys=True, ensure_ascii=False)


def _identity(folder: Path | None) -> tuple[int, int] | None:
    """What changes when a folder is written anew."""
    try:
        status = folder.stat() if folder is not None else None
    except OSError:
        return None
    return (status.st_ino, status.st_mtime_ns) if status is not None else None
