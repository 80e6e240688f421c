"""Whether our dense retriever slows FAISS down: searching through it, against ``index.search`` of the same index.

Vectors come from a seed, in clusters as embeddings lie, and a passage's or question's vector is looked up in a table, so
that nothing but the search is measured. *Ours* is ``Dense.search`` question by question, as the pipeline calls it. *Plain*
searches the very index that ours built with the same vector, one question at a time, and looks up the identifiers and
scores of the best ``--depth``. It is checked that both find the same.

    python benchmarks/faiss_search.py
    python benchmarks/faiss_search.py --passages 2000 --index Flat HNSW32 IVF64,Flat

Our ranking holds positions and scores, and makes a passage when one is looked at; the second figure of an index includes
that for the first ``--looked-at``, which are as many as the pipeline keeps. The sides alternate (ours, plain, plain, ours, …).
A ratio is the median over the rounds of our questions per second to the plain ones; the last line is the worst of the
searches alone. 1 is no loss; the project promises 0.9.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import workbench  # noqa: F401 - before faiss: it says how OpenMP's threads wait

# isort: split
import faiss
import numpy as np
from numpy.typing import NDArray

from workbench.contracts import Sources
from workbench.records import Chunk, Corpus, Document, Passage
from workbench.retrievers import dense

_CLUSTERS = 200
_SPREAD = 1.0  # of a cluster's vectors around its centre, which has length 1


class Table:
    """An embedder whose vectors are known beforehand."""

    digest = "table"

    def __init__(self, vectors: dict[str, NDArray[np.float32]]) -> None:
        self._vectors = vectors

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The texts' vectors."""
        return np.stack([self._vectors[text] for text in texts])


def main() -> None:
    """Measure every index, and print rates and ratios."""
    options = _options()
    vectors = _vectors(options.passages + options.questions, options.dimensions, options.seed)
    texts = [f"passage {number}" for number in range(options.passages)]
    questions = [f"question {number}" for number in range(options.questions)]
    table = Table(dict(zip([*texts, *questions], vectors, strict=True)))
    chunks = [Chunk(id=f"{text}#0-{len(text)}", document_id=text, start=0, end=len(text), text=text) for text in texts]
    print(
        f"{options.passages:,} vectors of {options.dimensions} dimensions, {options.questions:,} questions, "
        f"depth {options.depth}, {faiss.omp_get_max_threads()} threads"
    )
    print(f"{min(_measure(factory, chunks, questions, table, options) for factory in options.index):.3f}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--index", nargs="+", default=["Flat", "HNSW32"], help="default: Flat HNSW32")
    parser.add_argument("--passages", type=int, default=20_000, help="vectors in the index (default: %(default)s)")
    parser.add_argument("--dimensions", type=int, default=384, help="of a vector (default: %(default)s)")
    parser.add_argument("--questions", type=int, default=300, help="questions in a round (default: %(default)s)")
    parser.add_argument("--depth", type=int, default=50, help="passages a question finds (default: %(default)s)")
    parser.add_argument(
        "--looked-at", type=int, default=10, help="passages made, in the second figure (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=6, help="rounds of both sides (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="what the vectors are made from (default: %(default)s)")
    return parser.parse_args()


def _vectors(count: int, dimensions: int, seed: int) -> NDArray[np.float32]:
    """Vectors of unit length around the centres of clusters."""
    dice = np.random.default_rng(seed)
    centres = _unit(dice.standard_normal((_CLUSTERS, dimensions), dtype=np.float32))
    noise = _unit(dice.standard_normal((count, dimensions), dtype=np.float32))
    return _unit(centres[dice.integers(_CLUSTERS, size=count)] + _SPREAD * noise)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _measure(
    factory: str, chunks: Sequence[Chunk], questions: Sequence[str], table: Table, options: argparse.Namespace
) -> float:
    """One index's median ratio, of the search alone."""
    retriever = dense.build(_sources(factory, chunks, table), depth=options.depth)
    index = retriever._index.index  # not another one: where an index lies in memory changes its speed by a tenth
    ids = [chunk.id for chunk in chunks]

    def ours(question: str) -> Sequence[Passage]:
        return retriever.search(question)

    def looked_at(question: str) -> Sequence[Passage]:
        return retriever.search(question)[: options.looked_at]

    def plain(question: str) -> list[tuple[str, float]]:
        scores, positions = index.search(table.embed([question]), options.depth)
        pairs = zip(positions[0].tolist(), scores[0].tolist(), strict=True)
        return [(ids[position], score) for position, score in pairs if position >= 0]

    for question in questions:
        found = [(passage.chunk.id, passage.score) for passage in ours(question)]
        if sorted(found) != sorted(plain(question)):
            raise SystemExit(f"{question}: ours found {found[:3]} …, FAISS {plain(question)[:3]} …")
    sides = (ours, looked_at, plain)
    rounds = []
    for number in range(options.rounds):
        order = sides[::-1] if number % 2 else sides
        rounds.append({side: _seconds(side, questions) for side in order})
    rates = [len(questions) / statistics.median(seconds[side] for seconds in rounds) for side in sides]
    ratios = [statistics.median(seconds[plain] / seconds[side] for seconds in rounds) for side in (ours, looked_at)]
    print(
        f"  {factory}: plain {rates[2]:,.0f} questions/s; ours {rates[0]:,.0f}, ratio {ratios[0]:.3f}; "
        f"with {options.looked_at} passages made {rates[1]:,.0f}, ratio {ratios[1]:.3f}"
    )
    return ratios[0]


def _sources(factory: str, chunks: Sequence[Chunk], table: Table) -> Sources:
    def unused(*_: Any) -> Any:
        raise SystemExit("dense asks for no model, retriever or question")

    return Sources(
        corpus=Corpus(name="made up", documents=(Document(id="d", text="unused"),), digest=""),
        chunks=chunks,
        index=factory,
        precision="float32",
        context_tokens=1024,
        folder=None,
        embedder=lambda choice=None: table,
        model=unused,
        retriever=unused,
        question=unused,
    )


def _seconds(search: Callable[[str], object], questions: Sequence[str]) -> float:
    started = time.perf_counter()
    for question in questions:
        search(question)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
