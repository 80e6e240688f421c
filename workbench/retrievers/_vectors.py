"""FAISS indexes: made from a factory string at a precision, kept in files, and measured against exact search."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from workbench.errors import InputError
from workbench.retrievers import _cache

EXACT = "Flat"
_FILE = "index.faiss"
_FACTS = "facts.json"
_QUERIES = 200
_NEAREST = 10
_SAME = 1e-6  # cosines that differ by rounding alone
_ADVISED = 39  # training vectors a cluster, below which FAISS warns
_INT8 = 127

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """How vectors of unit length are kept: what the index is given for them, and the cosine that its answer stands for.

    ``steps`` is how many steps of int8 a component of 1 takes; other precisions need none.
    """

    index: Callable[[int], Any]
    steps: Callable[[Vectors], float]
    encode: Callable[[Vectors, float], NDArray[Any]]
    cosine: Callable[[NDArray[Any], int, float], NDArray[Any]]
    read: Callable[[str], Any]
    write: Callable[[Any, Any], None]


def _int8_index(dimensions: int) -> faiss.Index:
    quantiser = faiss.ScalarQuantizer.QT_8bit_direct_signed
    return faiss.IndexScalarQuantizer(dimensions, quantiser, faiss.METRIC_INNER_PRODUCT)


PRECISIONS = {
    "float32": Precision(
        index=faiss.IndexFlatIP,
        steps=lambda vectors: 0.0,
        encode=lambda vectors, steps: np.ascontiguousarray(vectors, dtype=np.float32),
        cosine=lambda found, dimensions, steps: found,
        read=faiss.read_index,
        write=faiss.write_index,
    ),
    "int8": Precision(
        index=_int8_index,
        steps=lambda vectors: float(_INT8 / np.abs(vectors).max()),
        encode=lambda vectors, steps: np.rint(np.clip(vectors * np.float32(steps), -_INT8, _INT8)),
        cosine=lambda found, dimensions, steps: found / np.float32(steps * steps),
        read=faiss.read_index,
        write=faiss.write_index,
    ),
    "binary": Precision(
        index=lambda dimensions: faiss.IndexBinaryFlat((dimensions + 7) // 8 * 8),
        steps=lambda vectors: 0.0,
        encode=lambda vectors, steps: np.packbits(vectors > 0, axis=1),
        cosine=lambda found, dimensions, steps: 1 - 2 * found / dimensions,
        read=faiss.read_index_binary,
        write=faiss.write_index_binary,
    ),
}


class VectorIndex:
    """A filled index with what is known of it: ``index_bytes``, ``chunks`` and ``recall_vs_flat@10``."""

    def __init__(self, index: Any, precision: str, steps: float, facts: Mapping[str, Any]) -> None:
        self.index = index
        self.precision = PRECISIONS[precision]
        self.steps = steps
        self.facts = facts

    def search(self, vectors: Vectors, depth: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Cosines and positions of the nearest to each vector, best first; -1 where an approximate index found fewer."""
        found, positions = self.index.search(self.precision.encode(vectors, self.steps), depth)
        return self.precision.cosine(found, vectors.shape[1], self.steps), positions


# -------------------------------------------------------------------------------------------------------------- making


def check(factory: str, precision: str, count: int) -> None:
    """Refuse what no index can be made of, as far as it shows before anything is embedded."""
    if precision not in PRECISIONS:
        raise InputError(f"precision is {precision!r}; expected one of {', '.join(PRECISIONS)}")
    if precision != "float32" and factory != EXACT:
        raise InputError(
            f"precision is {precision!r} and index is {factory!r}; expected index Flat with that precision: "
            "a factory string says itself how it keeps vectors, so use SQ8 in it instead (IVF256,SQ8 or HNSW32_SQ8)"
        )
    for needed, part, advice in _trained(factory, count):
        if needed > count:
            raise InputError(
                f"index is {factory!r}, which cannot be trained on the {count} chunks there are: {part} needs at least "
                f"{needed}; use Flat, {advice}, or smaller chunks"
            )


def _trained(factory: str, count: int) -> Iterator[tuple[int, str, str]]:
    """The training vectors that parts of a factory string need, and what to write instead of the part."""
    for match in re.finditer(r"IVF(\d+)", factory):
        clusters = int(match[1])
        advice = f"IVF{max(count // _ADVISED, 1)} or fewer clusters (FAISS advises {_ADVISED} chunks for each)"
        yield clusters, f"{match[0]} has {clusters} clusters and", advice
    for match in re.finditer(r"(?:PQ|RQ|LSQ)\d+(?:_\d+)?(?:x(\d+))?", factory):
        yield 2 ** min(int(match[1] or 8), 32), match[0], "codes of fewer bits such as PQ16x4"
    for match in re.finditer(r"PCA[RW]*(\d+)", factory):
        yield int(match[1]), match[0], "fewer dimensions"


def empty(factory: str, precision: str, dimensions: int, **parameters: int | None) -> Any:
    """An index without vectors, its search parameters set."""
    index = PRECISIONS[precision].index(dimensions) if factory == EXACT else _made(factory, dimensions)
    problems = []
    for name, value in parameters.items():
        if value is not None and not _tuned(index, name, value):
            kind = "clusters to probe; expected IVF" if name == "nprobe" else "graph to follow; expected HNSW"
            problems.append(f"dense: {name} is {value}, but index {factory!r} has no {kind} in it, or no {name}")
    if problems:
        raise InputError(problems)
    return index


def _made(factory: str, dimensions: int) -> faiss.Index:
    try:
        return faiss.index_factory(dimensions, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise InputError(
            f"index is {factory!r}, which FAISS cannot build for {dimensions} dimensions ({_reason(error)}); "
            "expected a FAISS factory string such as Flat, HNSW32 or IVF64,Flat"
        ) from error


def _parts(index: Any) -> Iterator[Any]:
    """An index and those within it."""
    while isinstance(index, faiss.Index):
        index = faiss.downcast_index(index)
        yield index
        index = next(
            (getattr(index, name) for name in ("index", "base_index", "storage") if hasattr(index, name)), None
        )


def _tuned(index: Any, name: str, value: int) -> bool:
    if not isinstance(index, faiss.Index):
        return False
    try:
        faiss.ParameterSpace().set_index_parameter(index, {"ef_search": "efSearch"}.get(name, name), value)
    except RuntimeError:
        return False
    return True


def filled(index: Any, factory: str, precision: str, vectors: Vectors) -> VectorIndex:
    """The index with the vectors in it, and its facts measured."""
    steps = PRECISIONS[precision].steps(vectors)
    codes = PRECISIONS[precision].encode(vectors, steps)
    try:
        with _quiet(index):
            index.train(codes)
        index.add(codes)
    except RuntimeError as error:
        raise InputError(
            f"index is {factory!r}, which cannot be trained on the {len(vectors)} chunks there are ({_reason(error)}); "
            "use Flat, fewer clusters, or smaller chunks"
        ) from error
    made = VectorIndex(index, precision, steps, {})
    exact = factory == EXACT and precision == "float32"
    made.facts = {
        "index_bytes": _size(made),
        "chunks": len(vectors),
        "recall_vs_flat@10": 1.0 if exact else _recall(made, vectors),
    }
    return made


@contextmanager
def _quiet(index: Any) -> Iterator[None]:
    """Keep FAISS from printing a line for every clustering of few vectors: the recall, which is measured, says more."""
    rotations = []
    for part in _parts(index):
        for clustered in (part, getattr(part, "pq", part)):
            if hasattr(clustered, "cp"):
                clustered.cp.min_points_per_centroid = 1
        if isinstance(part, faiss.IndexPreTransform):
            chain: Any = part.chain
            transforms = (faiss.downcast_VectorTransform(chain.at(place)) for place in range(chain.size()))
            rotations += [each for each in transforms if isinstance(each, faiss.OPQMatrix)]
    lent = []
    for rotation in rotations:  # trains a quantiser of its own, if it is given none
        quantiser = faiss.ProductQuantizer(rotation.d_out, rotation.M, 8)
        quantiser.cp.min_points_per_centroid = 1
        rotation.pq = quantiser
        lent.append(quantiser)  # FAISS holds no reference
    try:
        yield
    finally:
        for rotation in rotations:
            rotation.pq = None


def _reason(error: RuntimeError) -> str:
    """FAISS' message without the place in its source and the condition that failed there."""
    return re.sub(r"^.* at \S+:\d+: (Error: )?('.*' failed: )?", "", str(error), flags=re.DOTALL).strip()


# ----------------------------------------------------------------------------------------------------------- measuring


def _size(made: VectorIndex) -> int:
    """Bytes that the index takes in a file."""
    sizes: list[int] = []

    def take(block: bytes) -> int:
        sizes.append(len(block))
        return len(block)

    made.precision.write(made.index, faiss.PyCallbackIOWriter(take))  # type: ignore[attr-defined]
    return sum(sizes)


def _recall(made: VectorIndex, vectors: Vectors) -> float:
    """The share of the exact ten nearest that an index finds, for vectors of its own spread over the corpus.

    Whatever is as near as the tenth counts, so that passages that stand twice do no harm.
    """
    nearest = min(_NEAREST, len(vectors))
    queries = vectors[np.linspace(0, len(vectors) - 1, min(_QUERIES, len(vectors))).astype(int)]
    exact, _ = faiss.knn(queries, vectors, nearest, metric=faiss.METRIC_INNER_PRODUCT)
    _, positions = made.search(queries, nearest)
    cosines = np.einsum("qd,qkd->qk", queries, vectors[positions])
    return float(np.mean((cosines >= exact[:, -1:] - _SAME) & (positions >= 0)))


# ----------------------------------------------------------------------------------------------------------- keeping


def store(folder: Path | None, made: VectorIndex) -> None:
    """Keep an index and its facts in a folder."""

    def write(fresh: Path) -> None:
        made.precision.write(made.index, str(fresh / _FILE))
        (fresh / _FACTS).write_text(json.dumps({**made.facts, "steps": made.steps}), encoding="utf-8")

    _cache.store(folder, write)


def load(folder: Path | None, precision: str, expected: int) -> VectorIndex | None:
    """The index that a folder holds, if it is whole and of so many vectors."""
    if folder is None or not _cache.intact(folder):
        return None
    try:
        index = PRECISIONS[precision].read(str(folder / _FILE))
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        steps = facts.pop("steps")
    except (RuntimeError, OSError, ValueError, KeyError, AttributeError):
        return None
    return VectorIndex(index, precision, steps, facts) if index.ntotal == expected else None
