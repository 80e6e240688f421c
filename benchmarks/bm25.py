"""Whether our bm25 retriever slows bm25s down: building an index and asking it, against the library used plainly.

Passages of made-up words whose frequencies fall as those of a language do, English stop words among them, or the documents
and questions of ``--corpus`` and ``--evalset``, cut by the tokens chunker. *Plain* is ``bm25s.tokenize`` and ``BM25.index``,
then for all questions at once ``bm25s.tokenize`` and ``BM25.retrieve``, in one thread as the library does by default. *Ours*
builds the retriever from the chunks, makes each passage's text from its title and text, and is asked question by question,
as the pipeline does it. Both use k1 1.5, b 0.75, words of two letters or more and the same stop words, and both hand over
the identifiers and scores of the best ``--depth`` passages; it is checked that these scores are the same (in texts that are
not plain ASCII they differ a little where ours folds characters that mean the same).

    python benchmarks/bm25.py
    python benchmarks/bm25.py --passages 2000 --questions 100 --rounds 3
    python benchmarks/bm25.py --corpus python-reference --evalset python-reference

The sides alternate (ours, plain, plain, ours, …). A ratio is the median over the rounds: of the plain seconds to ours for
building, of our questions per second to the plain ones for asking. The last line is the worse of the two; 1 is no loss,
and the project promises 0.9. For comparison, the library is also asked question by question.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bm25s
import numpy as np
from bm25s import stopwords

import workbench
from workbench import registry
from workbench.contracts import Sources
from workbench.records import Chunk, Corpus, Document
from workbench.retrievers import bm25
from workbench.retrievers._ranking import searchable

_K1, _B = 1.5, 0.75
_SYLLABLES = [first + second for first in "bdfgklmnprstv" for second in ("a", "e", "i", "o", "u", "ar", "en", "is")]
_BLOCK = 10_000  # passages made at a time

Found = list[list[tuple[str, float]]]


def main() -> None:
    """Measure both sides in turns, and print rates and ratios."""
    options = _options()
    chunks, questions = _given(options) if options.corpus else _made(options)
    texts = [searchable(chunk) for chunk in chunks]
    ids = np.array([chunk.id for chunk in chunks])
    depth = min(options.depth, len(chunks))
    words = sum(map(len, map(str.split, texts))) / len(texts)
    print(f"{len(chunks):,} passages of {words:.0f} words, {len(questions):,} questions, depth {depth}")

    def ours() -> list[float]:
        retriever, built = _timed(lambda: bm25.build(_sources(chunks), k1=_K1, b=_B, depth=depth))
        found, asked = _timed(
            lambda: [[(each.chunk.id, each.score) for each in retriever.search(question)] for question in questions]
        )
        results["ours"] = found
        return [built, asked, asked]

    def plain() -> list[float]:
        index, built = _timed(lambda: _plain_index(texts))
        found, asked = _timed(lambda: _plain_ask(index, questions, ids, depth))
        _, one_by_one = _timed(lambda: [_plain_ask(index, [question], ids, depth) for question in questions])
        results["plain"] = found
        return [built, asked, one_by_one]

    results: dict[str, Found] = {}
    rounds = []
    for number in range(options.rounds + 1):
        sides = [side() for side in ((plain, ours) if number % 2 else (ours, plain))]
        rounds.append(sides[::-1] if number % 2 else sides)
    same = _same_scores(results["ours"], results["plain"])
    print(f"  the same scores for {same} of {len(questions)} questions")
    if same < len(questions) and not options.corpus:
        raise SystemExit("the sides found different passages, which is no comparison")
    print(f"{min(_report(rounds[1:], len(questions))):.3f}")  # the first warms both up


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--passages", type=int, default=20_000, help="made-up passages (default: %(default)s)")
    parser.add_argument("--questions", type=int, default=500, help="questions, at most (default: %(default)s)")
    parser.add_argument("--depth", type=int, default=50, help="passages a question finds (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=6, help="rounds of both sides (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="what the passages are made from (default: %(default)s)")
    parser.add_argument("--corpus", help="a corpus by name or path, in place of made-up passages")
    parser.add_argument("--evalset", help="its questions (default: the corpus's name or path)")
    return parser.parse_args()


# ------------------------------------------------------------------------------------------------------------ data


def made_up(passages: int, seed: int, vocabulary: int = 50_000) -> Iterator[tuple[str, str]]:
    """Titles and texts of about 100 words; the word of rank r is as frequent as 1/r, the first ranks are stop words."""
    dice = np.random.default_rng(seed)
    syllables = dice.integers(len(_SYLLABLES), size=(vocabulary, 4)).tolist()
    lengths = dice.integers(1, 5, size=vocabulary).tolist()
    words = list(stopwords.STOPWORDS_EN)
    words += ["".join(_SYLLABLES[part] for part in parts[:n]) for parts, n in zip(syllables, lengths, strict=True)]
    shares = np.cumsum(1 / np.arange(1, len(words) + 1))
    for start in range(0, passages, _BLOCK):
        sizes = dice.integers(60, 141, size=min(_BLOCK, passages - start))
        drawn = iter(np.searchsorted(shares, dice.random(sizes.sum()) * shares[-1]).tolist())
        for size in sizes.tolist():
            text = [words[next(drawn)] for _ in range(size)]
            yield " ".join(text[:5]).capitalize(), f"{' '.join(text[5:]).capitalize()}."


def _made(options: argparse.Namespace) -> tuple[list[Chunk], list[str]]:
    chunks = []
    for number, (title, text) in enumerate(made_up(options.passages, options.seed)):
        id = f"d{number}"
        chunks.append(Chunk(id=f"{id}#0-{len(text)}", document_id=id, start=0, end=len(text), text=text, title=title))
    dice = np.random.default_rng(options.seed + 1)
    stopped = set(stopwords.STOPWORDS_EN)
    asked = []
    for place in dice.integers(len(chunks), size=options.questions).tolist():
        words = [word for word in chunks[place].text.strip(".").lower().split() if word not in stopped]
        asked.append(f"What is the {words[0]} of {' '.join(words[1:6])}?")
    return chunks, asked


def _given(options: argparse.Namespace) -> tuple[list[Chunk], list[str]]:
    corpus = workbench.load_corpus(options.corpus)
    evalset = workbench.load_evalset(options.evalset or options.corpus, corpus)
    chunker = registry.build("chunkers", "tokens")
    chunks = [chunk for document in corpus.documents for chunk in chunker.split(document)]
    return chunks, [question.question for question in evalset.questions][: options.questions]


# ------------------------------------------------------------------------------------------------------- both sides


def _sources(chunks: Sequence[Chunk]) -> Sources:
    def unused(*_: Any) -> Any:
        raise SystemExit("bm25 asks for nothing but the chunks")

    return Sources(
        corpus=Corpus(name="made up", documents=(Document(id="d", text="unused"),), digest=""),
        chunks=chunks,
        index="Flat",
        precision="float32",
        context_tokens=1024,
        folder=None,
        embedder=unused,
        model=unused,
        retriever=unused,
        question=unused,
    )


def _plain_index(texts: list[str]) -> bm25s.BM25:
    index = bm25s.BM25(k1=_K1, b=_B)
    index.index(bm25s.tokenize(texts, stopwords="en", show_progress=False), show_progress=False)
    return index


def _plain_ask(index: bm25s.BM25, questions: list[str], ids: Any, depth: int) -> Found:
    asked = bm25s.tokenize(questions, stopwords="en", return_ids=False, show_progress=False)
    found, scores = index.retrieve(asked, corpus=ids, k=depth, show_progress=False)
    return [list(zip(*pair, strict=True)) for pair in zip(found.tolist(), scores.tolist(), strict=True)]


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    gc.collect()
    started = time.perf_counter()
    done = work()
    return done, time.perf_counter() - started


def _same_scores(ours: Found, plain: Found) -> int:
    """How many questions have the same scores on both sides; plain bm25s fills up with passages that share no word."""
    return sum(
        len(mine) == len(expected) and np.allclose([score for _, score in mine], expected, rtol=1e-4)
        for mine, theirs in zip(ours, plain, strict=True)
        for expected in ([score for _, score in theirs if score > 0],)
    )


def _report(rounds: Sequence[Sequence[Sequence[float]]], questions: int) -> tuple[float, float]:
    built, asked, one_by_one = ([(ours[part], plain[part]) for ours, plain in rounds] for part in range(3))
    for what, pairs, scale, unit in (
        ("build", built, 0, "s"),
        ("ask", asked, questions, "questions/s"),
        ("ask plain one by one", one_by_one, questions, "questions/s"),
    ):
        ours, plain = (statistics.median(side) for side in zip(*pairs, strict=True))
        shown = [f"{scale / seconds:,.0f}" if scale else f"{seconds:.3f}" for seconds in (ours, plain)]
        print(f"  {what}: ours {shown[0]} {unit}, plain {shown[1]} {unit}, ratio {_ratio(pairs):.3f}")
    return _ratio(built), _ratio(asked)


def _ratio(pairs: Sequence[tuple[float, float]]) -> float:
    """The plain side's seconds to ours: above 1 we are faster."""
    return statistics.median(plain / ours for ours, plain in pairs)


if __name__ == "__main__":
    main()
