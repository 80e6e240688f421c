"""Whether embedding through the workbench is slower than the library: passages a second, against ``SentenceTransformer.encode``.

Passages of ``--corpus``, cut by the tokens chunker and drawn with a seed, by all-MiniLM-L6-v2. *Ours* is ``Indexes.vectors``,
which every index over embeddings takes its vectors from: it looks for them in the cache, embeds, meters, and stores them with
their checksums; each round has an empty cache. *Plain* is ``encode`` of a second copy of the model with the same batch size,
the same number of threads and unit vectors. Both run in one process, so that OpenMP is set alike (its threads sleep while
they wait); it is checked that the vectors are the same.

    python benchmarks/embedding.py
    python benchmarks/embedding.py --passages 50 --rounds 2
    python benchmarks/embedding.py --corpus PATH --batch-size 32

The sides alternate (ours, plain, plain, ours, …). Afterwards a second run over the last round's cache counts how many
texts are embedded again. The last line is the median over the rounds of our passages per second to the plain ones; 1 is no
loss, and the project promises 0.95.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import workbench  # before torch: it says how OpenMP's threads wait

# isort: split
import numpy as np
import torch
from numpy.typing import NDArray

from workbench import registry, weights
from workbench.contracts import Embedder
from workbench.embedders.sentence_transformers import load
from workbench.index import Indexes
from workbench.meters.cpu_time import CpuTime
from workbench.records import Corpus
from workbench.retrievers._ranking import searchable

_CLOSE = 1e-5  # vectors of differently padded batches differ by rounding
_NAME = "minilm-l6"


class Counting:
    """An embedder that counts what it is given."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.digest = embedder.digest
        self.calls = 0
        self.texts = 0

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The texts' vectors."""
        self.calls += 1
        self.texts += len(texts)
        return self._embedder.embed(texts)


def main() -> None:
    """Measure both sides in turns, and print rates and the ratio."""
    options = _options()
    corpus = workbench.load_corpus(options.corpus)
    texts = _texts(corpus, options.passages, options.seed)
    folder = str(weights.require(_NAME, "embedder").parent)
    embedder = registry.build(
        "embedders", {"name": f"sentence_transformers:{folder}", "batch_size": options.batch_size}
    )
    model = load(folder)  # the library's own object
    embedder.embed(texts[:16])
    threads = torch.get_num_threads()  # as ours set them
    print(
        f"{len(texts)} passages of {sum(map(len, texts)) / len(texts):.0f} characters from {corpus.name}, {_NAME}, "
        f"batches of {options.batch_size}, {threads} threads"
    )

    def plain() -> NDArray[np.float32]:
        torch.set_num_threads(threads)
        return model.encode(texts, batch_size=options.batch_size, normalize_embeddings=True, show_progress_bar=False)

    with tempfile.TemporaryDirectory(prefix="embedding-") as place:
        rounds = []
        for number in range(options.rounds):
            cache = Path(place) / str(number)
            ours = _ours(corpus, cache, Counting(embedder), texts)
            made = [_timed(side) for side in ((plain, ours) if number % 2 else (ours, plain))]
            (mine, our_seconds), (theirs, plain_seconds) = made[::-1] if number % 2 else made
            if not np.allclose(mine, theirs, atol=_CLOSE):
                raise SystemExit("ours and the library's vectors differ")
            rounds.append((our_seconds, plain_seconds))
        again = Counting(embedder)
        _ours(corpus, cache, again, texts)()
    for name, seconds in zip(("ours", "plain"), zip(*rounds, strict=True), strict=True):
        print(f"  {name:5} {len(texts) / statistics.median(seconds):.1f} passages/s")
    print(f"  a second run over the same passages embeds {again.texts} texts in {again.calls} calls")
    print(f"{statistics.median(theirs / mine for mine, theirs in rounds):.3f}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--corpus", default="python-reference", help="name or path (default: %(default)s)")
    parser.add_argument("--passages", type=int, default=400, help="passages, at most (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="our default is 8 (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=4, help="rounds of both sides (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="which passages are drawn (default: %(default)s)")
    return parser.parse_args()


def _texts(corpus: Corpus, count: int, seed: int) -> list[str]:
    chunker = registry.build("chunkers", "tokens")
    texts = [searchable(chunk) for document in corpus.documents for chunk in chunker.split(document)]
    return random.Random(seed).sample(texts, min(count, len(texts)))  # noqa: S311 - reproducible, not a secret


def _ours(corpus: Corpus, cache: Path, embedder: Counting, texts: list[str]) -> Callable[[], NDArray[np.float32]]:
    """What a run does that finds this cache."""
    indexes = Indexes(corpus, cache, record=lambda work: None, meter=CpuTime())
    return lambda: indexes.vectors(embedder, _NAME, texts)


def _timed(work: Callable[[], NDArray[np.float32]]) -> tuple[NDArray[np.float32], float]:
    started = time.perf_counter()
    made = work()
    return made, time.perf_counter() - started


if __name__ == "__main__":
    main()
