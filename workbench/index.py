"""Indexes over one corpus: each distinct chunking, embedding and index is built once, shared, and cached by content."""

from __future__ import annotations

import itertools
import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter

from workbench import registry
from workbench.booking import Recorder, one_work
from workbench.contracts import Compressor, Embedder, Meter, ModelOf, Reranker, Retriever, Sources, Tools
from workbench.errors import InputError
from workbench.ledger import add
from workbench.records import (
    Chunk,
    Configuration,
    Corpus,
    IndexFacts,
    OneOff,
    PluginChoice,
    Question,
    Reading,
    as_json,
    digest,
    plugin_label,
    plugin_name,
)
from workbench.retrievers import _cache
from workbench.retrievers._ranking import searchable
from workbench.space import chunker_parameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LAYOUT = "2"  # to be raised when the files of an index or the text it is made of change without their plugin changing
_BLOCK = 512  # passages embedded between two reports of progress
_READING: TypeAdapter[Reading] = TypeAdapter(Reading)
_BUILD = "build.json"  # beside an index or vectors: what making them took


def _no_model(choice: PluginChoice | None = None) -> Any:
    raise InputError("there is no model to ask here")


class Indexes:
    """Retrievers, rerankers and compressors by configuration, over one corpus.

    ``folder`` keeps indexes and embeddings between runs (``None``: in memory only). ``record`` is given every one-off
    piece of work that was really done, with its reading; what came from the cache is not. ``model`` gives a
    configuration's models, ``question`` finds a question by its text, ``report`` hears what long work is about.
    """

    def __init__(
        self,
        corpus: Corpus,
        folder: Path | None,
        record: Callable[[OneOff], None],
        meter: Meter,
        *,
        model: Callable[[Configuration], ModelOf] = lambda configuration: _no_model,
        question: Callable[[str], Question | None] = lambda text: None,
        report: Callable[[str], None] = lambda doing: None,
    ) -> None:
        self._corpus = corpus
        self._folder = folder
        self._record = record
        self._model = model
        self._question = question
        self._report = report
        self._recorder = Recorder(meter)
        self._lock = threading.RLock()
        self._windows = itertools.count()
        self._of_configuration: dict[str, Retriever | None] = {}
        self._retrievers: dict[str, Retriever] = {}
        self._folders: dict[str, Path | None] = {}
        self._helpers: dict[str, Any] = {}
        self._embedders: dict[str, Embedder] = {}
        self._chunks: dict[str, Sequence[Chunk]] = {}
        self._vectors: dict[str, NDArray[np.float32]] = {}
        self._took: dict[str, Reading | None] = {}
        self._parts: defaultdict[str, set[str]] = defaultdict(set)
        self._under_way: list[str] = []

    def retriever(self, configuration: Configuration) -> Retriever | None:
        """The retriever of a configuration; ``None`` for closed book."""
        if configuration.id not in self._of_configuration:
            with self._lock:
                choice = configuration["retriever"]
                none = plugin_name(choice) == "none"
                self._of_configuration[configuration.id] = None if none else self._retriever(configuration, choice)
        return self._of_configuration[configuration.id]

    def reranker(self, configuration: Configuration) -> Reranker | None:
        """The reranker of a configuration, if it has one."""
        found: Reranker | None = self._helper(configuration, "rerankers", configuration["rerank"])
        return found

    def compressor(self, configuration: Configuration) -> Compressor | None:
        """The compressor of a configuration, if it has one."""
        found: Compressor | None = self._helper(configuration, "compressors", configuration["compress"])
        return found

    def chunks(self, configuration: Configuration) -> Sequence[Chunk]:
        """The corpus as a configuration cuts it."""
        with self._lock:
            return self._cut(_chunking(configuration))

    def embedded(self, configuration: Configuration) -> bool:
        """Whether the vectors of a configuration's passages lie in the folder already, so that indexing them takes little."""
        if self._folder is None:
            return False
        texts = [searchable(chunk) for chunk in self.chunks(configuration)]
        key = digest(self._embedder(configuration).digest, *texts)
        return _stored(self._folder / "vectors" / key, len(texts)) is not None

    def facts(self, configuration: Configuration) -> IndexFacts | None:
        """What is known of the index a configuration searches; ``None`` for closed book. Its retriever must be built."""
        if plugin_name(configuration["retriever"]) == "none":
            return None
        with self._lock:
            parts = self._closure(self._key(configuration, configuration["retriever"]))
            own = [self._own_facts(part) for part in sorted(parts) if part in self._retrievers]
            sizes = [facts["index_bytes"] for facts in own if facts.get("index_bytes") is not None]
            recalls = [facts["recall_vs_flat@10"] for facts in own if facts.get("recall_vs_flat@10") is not None]
            return IndexFacts(
                chunks=len(self._cut(_chunking(configuration))),
                bytes=sum(sizes) if sizes else None,
                recall=min(recalls, default=None),
                build=self._whole(parts),
            )

    # ------------------------------------------------------------------------------------------------- what is shared

    def _retriever(self, configuration: Configuration, choice: PluginChoice) -> Retriever:
        key = self._key(configuration, choice)
        self._use(key)
        if key not in self._retrievers:
            needs = registry.needs("retrievers", choice)
            chunking = _chunking(configuration)
            embedder: PluginChoice = configuration["embedder"] if "embedder" in needs else ""
            index: str = configuration["index"] if "index" in needs else ""
            folder = None
            if self._folder is not None:
                versions = registry.version("retrievers", choice), registry.version("chunkers", chunking)
                weights = self._embedder(configuration, None).digest if embedder else ""
                folder = self._folder / digest(_LAYOUT, self._corpus.digest, key, *versions, weights)
            sources = Sources(
                corpus=self._corpus,
                chunks=self._cut(chunking) if "chunks" in needs else (),
                index=configuration["index"],
                precision=configuration["precision"],
                context_tokens=configuration["context_tokens"],
                folder=folder,
                embedder=partial(self._embedder, configuration),
                model=self._model(configuration),
                retriever=partial(self._retriever, configuration),
                question=self._question,
            )
            self._folders[key] = folder
            if "chunks" in needs:
                self._parts[key].add(_canonical(chunking))
            what = ", ".join(plugin_label(part) for part in (choice, index, embedder, chunking) if part)
            before = _identity(folder)
            with self._once(
                "index",
                f"{self._corpus.name}: {what}",
                key,
                folder=folder,
                done=lambda: folder is None or _identity(folder) != before,
            ):
                self._retrievers[key] = registry.build("retrievers", choice, sources)
        return self._retrievers[key]

    def _key(self, configuration: Configuration, choice: PluginChoice) -> str:
        """What a retriever depends on, as one text."""
        needs = registry.needs("retrievers", choice)
        parts: list[Any] = [choice, _chunking(configuration) if "chunks" in needs else ""]
        for need, axes in (
            ("embedder", ("embedder", "dimensions")),
            ("index", ("index", "precision")),
            ("model", ("model",)),
            ("context_tokens", ("context_tokens",)),
        ):
            parts += [configuration[axis] for axis in axes] if need in needs else []
        return "\n".join(map(_canonical, parts))

    def _helper(self, configuration: Configuration, kind: str, choice: PluginChoice) -> Any:
        if plugin_name(choice) == "none":
            return None
        needs = registry.needs(kind, choice)
        needed = (("embedder", "embedder"), ("dimensions", "embedder"), ("model", "model"))
        axes = [configuration[axis] if need in needs else "" for axis, need in needed]
        key = "\n".join(map(_canonical, (kind, choice, *axes)))
        with self._lock:
            if key not in self._helpers:
                tools = Tools(
                    embedder=partial(self._embedder, configuration, remember=False), model=self._model(configuration)
                )
                with self._once("load", plugin_label(choice), key):
                    self._helpers[key] = registry.build(kind, choice, tools)
            return self._helpers[key]

    def _embedder(
        self, configuration: Configuration, choice: PluginChoice | None = None, *, remember: bool = True
    ) -> Embedder:
        """An embedder, loaded once. Those that index ``remember`` the passages' vectors; what is done for an answer is done anew."""
        dimensions: int | None = configuration["dimensions"] if choice is None else None
        choice = configuration["embedder"] if choice is None else choice
        loaded = _canonical(choice)
        key = f"{loaded}\n{dimensions}\n{remember}"
        with self._lock:
            if loaded not in self._embedders:
                with self._once("load", plugin_label(choice), loaded):
                    self._embedders[loaded] = registry.build("embedders", choice)
            if key not in self._embedders:
                embedder = self._embedders[loaded]
                if remember:
                    embedder = _Remembering(embedder, plugin_label(choice), self)
                self._embedders[key] = embedder if dimensions is None else _Shortened(embedder, dimensions)
            return self._embedders[key]

    def _cut(self, chunking: PluginChoice) -> Sequence[Chunk]:
        key = _canonical(chunking)
        self._use(key)
        if key not in self._chunks:
            chunker = registry.build("chunkers", chunking)
            with self._once("chunk", f"{self._corpus.name}: {plugin_label(chunking)}", key):
                chunks = tuple(chunk for document in self._corpus.documents for chunk in chunker.split(document))
            if not chunks:
                raise InputError(
                    f"corpus {self._corpus.name}: {plugin_label(chunking)} leaves no chunk; there is no text to search"
                )
            self._chunks[key] = chunks
        return self._chunks[key]

    def vectors(self, embedder: Embedder, name: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """The texts' vectors, made once and kept by content."""
        key = digest(embedder.digest, *texts)
        self._use(key)
        folder = None if self._folder is None else self._folder / "vectors" / key
        vectors = self._vectors.get(key) if folder is None else _stored(folder, len(texts))
        if vectors is not None:
            self._took.setdefault(key, _reading_in(folder))
            return vectors
        with self._once("embed", f"{self._corpus.name}: {name}", key, folder=folder):
            blocks = []
            for start in range(0, len(texts), _BLOCK):
                if len(texts) > _BLOCK:
                    self._report(f"embedding passages with {name}: {start:,} of {len(texts):,}")
                blocks.append(embedder.embed(texts[start : start + _BLOCK]))
            vectors = np.concatenate(blocks) if len(blocks) > 1 else blocks[0]
            _cache.store(folder, lambda fresh: np.save(fresh / "vectors.npy", vectors, allow_pickle=False))
        if folder is None:
            self._vectors[key] = vectors
        return vectors

    # -------------------------------------------------------------------------------------------- what building takes

    @contextmanager
    def _once(
        self,
        work: str,
        what: str,
        key: str,
        *,
        folder: Path | None = None,
        done: Callable[[], bool] = lambda: True,
    ) -> Iterator[None]:
        """Measure one-off work and record it if it was done; work inside other work suspends the outer window."""
        window = str(next(self._windows))
        self._under_way.append(key)
        self._recorder.enter(window)
        try:
            with one_work(self._recorder):
                yield
        finally:
            self._recorder.leave()
            self._under_way.pop()
        reading = self._recorder.stages().get(window)
        self._took[key] = reading
        if done():
            if reading is not None:
                self._record(OneOff(work=work, what=what, reading=reading))
            whole = self._whole(self._closure(key) - self._chunks.keys())
            if whole is not None and folder is not None and folder.is_dir():
                (folder / _BUILD).write_text(as_json(whole), encoding="utf-8")
        elif folder is not None and folder.is_dir():
            # What came from the cache was made with all that it rests on; only cutting is done anew in every process.
            self._took[key] = _reading_in(folder)
            self._parts[key] &= self._chunks.keys()

    def _use(self, key: str) -> None:
        """Note that what is being built rests on this piece."""
        if self._under_way:
            self._parts[self._under_way[-1]].add(key)

    def _closure(self, key: str) -> set[str]:
        """A piece with all that it rests on."""
        found, todo = {key}, [key]
        while todo:
            new = self._parts[todo.pop()] - found
            found |= new
            todo += new
        return found

    def _whole(self, parts: set[str]) -> Reading | None:
        """What making these pieces takes together; ``None`` where that is not known of one."""
        readings = [reading for part in parts if (reading := self._took.get(part)) is not None]
        return add(readings) if readings and len(readings) == len(parts) else None

    def _own_facts(self, key: str) -> dict[str, Any]:
        retriever, folder = self._retrievers[key], self._folders[key]
        tell = getattr(retriever, "index_facts", None)
        if tell is not None:
            facts: dict[str, Any] = tell()
            return facts
        if folder is None or not folder.is_dir():
            return {}
        return {"index_bytes": sum(path.stat().st_size for path in folder.iterdir() if path.name != _BUILD)}


class _Remembering:
    """An embedder that embeds the same passages once: indexes of several kinds share them. Questions pass through."""

    def __init__(self, embedder: Embedder, name: str, indexes: Indexes) -> None:
        self._embedder = embedder
        self._name = name
        self._indexes = indexes
        self.digest = embedder.digest

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if len(texts) == 1:
            return self._embedder.embed(texts)
        return self._indexes.vectors(self._embedder, self._name, texts)


class _Shortened:
    """The first dimensions of an embedder's vectors, brought back to unit length."""

    def __init__(self, embedder: Embedder, dimensions: int) -> None:
        self._embedder = embedder
        self._dimensions = dimensions
        self.digest = f"{embedder.digest}[:{dimensions}]"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = self._embedder.embed(texts)
        if vectors.shape[1] < self._dimensions:
            raise InputError(
                f"dimensions is {self._dimensions}, and the embedder's vectors have {vectors.shape[1]}; name fewer"
            )
        short = vectors[:, : self._dimensions]
        lengths = np.linalg.norm(short, axis=1, keepdims=True)
        return np.asarray(short / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def _stored(folder: Path | None, expected: int) -> NDArray[np.float32] | None:
    if folder is None or not _cache.intact(folder):
        return None
    try:
        vectors: NDArray[np.float32] = np.load(folder / "vectors.npy", allow_pickle=False)
    except (OSError, ValueError):
        return None
    return vectors if len(vectors) == expected else None


def _reading_in(folder: Path | None) -> Reading | None:
    """What making a folder's content took, as it was noted then."""
    try:
        return None if folder is None else _READING.validate_json((folder / _BUILD).read_bytes())
    except (OSError, ValueError):
        return None


def _chunking(configuration: Configuration) -> PluginChoice:
    """The chunker of a configuration with those of the chunking axes that it accepts."""
    choice: PluginChoice = configuration["chunker"]
    accepted = {parameter.name for parameter in chunker_parameters(choice)}
    axes: dict[str, Any] = {axis: configuration[axis] for axis in ("chunk_tokens", "chunk_overlap") if axis in accepted}
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
