"""A sweep of chunk sizes and retrievers without a model: how often each stage runs, and its time beside context-grid's.

*Ours* is ``workbench.run`` on the recursive chunker at every ``--chunk-tokens``, each with an eighth of it as overlap,
times the retrievers: first bm25 alone, then bm25, dense and hybrid with ``--embedder``. Its one-offs say how often the corpus
was cut, embedded and indexed; the naive count is what the configurations would do one by one. Where context-grid is there,
its ``recursive:N,overlap=N/8`` × bm25, and then × bm25, dense tf-idf and hybrid, run over the same texts, questions and
gold spans (the first place of an accepted answer in the gold document). Each side is a whole command in a fresh process
with an empty cache, imports and report included; its one run stands in the middle of ours, so that a busy machine slows
both down. What starting costs is measured by the same commands on one document and one question; the ratio of the rest is
printed too.

    python benchmarks/sweep.py
    python benchmarks/sweep.py --corpus DATA --evalset DATA --contextgrid PATH-TO-EXECUTABLE

What differs. Its tokens are words and single punctuation marks, ours those of o200k_base, so that a chunk of the same
number is longer in characters there (by a third in scientific English). Its separators go down to sentences and commas.
Its BM25 has the same formula and k1, b, but keeps stop words and single letters; ours searches the document's title with
every chunk (``--no-titles`` drops it). Its recall@5 is over chunks: those that hold at least half of a gold span's characters
are relevant, with overlap often two for one span, the found share of them counts, and a question whose span no chunk holds
half of is left out. Ours is the share of the gold characters that the first five chunks cover together, over all questions;
context-grid reports the same as char_recall@5, which is printed too, as is its recall@5 of our chunks. On covidqa_long without
titles that is 0.647, 0.705 and 0.785 at 128, 256 and 512 tokens, where context-grid has 0.645, 0.693 and 0.750; at 680
tokens, chunks as long as its 512, it is 0.757.

The last line is its time divided by ours on bm25, where it is installed; else the stages executed and their naive count.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import workbench
from workbench import registry

_REPORTED = (
    "context-grid not found (--contextgrid PATH); it took 228 s for 9 configurations over 98 papers and 200 questions on "
    "a 2-core machine (0.9.5, recursive 128/256/512 × bm25, dense tf-idf, hybrid)"
)
_METRIC = "recall@5"
_STAGES = {  # of a configuration that runs alone
    "bm25": ("chunk", "index"),
    "dense": ("chunk", "embed", "index"),
    "hybrid": ("chunk", "embed", "index", "index"),
}
_OVERLAP = 8  # the denominator
_LEAST = "least"  # the folder of one document and one question


def main() -> None:
    """Measure both sweeps, and print what was done."""
    options = _options()
    if options.measure:
        print(json.dumps(_run(Path(options.measure), options)))
        return
    rival = None if options.no_contextgrid else _executable(options.contextgrid)
    with tempfile.TemporaryDirectory(prefix="sweep-") as folder:
        print(_make_data(Path(folder), options))
        closing = [_sweep(Path(folder), ["bm25"], options.repeat, rival, options)]
        if not options.no_embeddings:
            closing.append(_sweep(Path(folder), list(_STAGES), 1, rival, options))
    if not rival:
        print("context-grid left out" if options.no_contextgrid else _REPORTED)
    print(closing[0] if rival else closing[-1])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--corpus", default="python-reference", help="name or path (default: %(default)s)")
    parser.add_argument("--evalset", default="python-reference", help="name or path (default: %(default)s)")
    parser.add_argument(
        "--questions", type=int, default=200, help="the first ones with a span are asked (default: %(default)s)"
    )
    parser.add_argument("--chunk-tokens", type=int, nargs="+", default=[128, 256, 512], help="default: 128 256 512")
    parser.add_argument("--repeat", type=int, default=3, help="our runs of bm25 alone (default: %(default)s)")
    parser.add_argument("--embedder", default="embedded:minilm-l6", help="for dense and hybrid (default: %(default)s)")
    parser.add_argument("--contextgrid", default="contextgrid", help="its executable (default: contextgrid on PATH)")
    parser.add_argument("--no-contextgrid", action="store_true", help="leave the comparison out")
    parser.add_argument("--no-embeddings", action="store_true", help="bm25 alone")
    parser.add_argument("--no-titles", action="store_true", help="search texts alone, as context-grid does")
    parser.add_argument("--retrievers", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    return parser.parse_args()


def _executable(name: str) -> str | None:
    """Where a program is, from wherever it will be started; nothing is downloaded."""
    found = shutil.which(name)
    return str(Path(found).absolute()) if found else None


def _make_data(folder: Path, options: argparse.Namespace) -> str:
    """The same texts, questions and spans in both formats; returns what they are."""
    corpus = workbench.load_corpus(options.corpus)
    evalset = workbench.load_evalset(options.evalset, corpus)
    texts = {document.id: document.text for document in corpus.documents}
    asked = [(question, spans) for question in evalset.questions if (spans := _spans(question, texts))]
    left_out, asked = len(evalset.questions) - len(asked), asked[: options.questions]
    _write(folder, corpus.documents, asked, options)
    question, spans = asked[0]
    document = next(each for each in corpus.documents if each.id == spans[0][0])
    _write(folder / _LEAST, [document], [(question, [span for span in spans if span[0] == document.id])], options)
    characters = sum(map(len, texts.values()))
    return (
        f"{len(texts)} documents of {characters / len(texts):,.0f} characters, {len(asked)} questions with gold spans "
        f"({left_out} in the set have none)"
    )


def _write(
    folder: Path, documents: Sequence[Any], asked: Sequence[tuple[Any, Any]], options: argparse.Namespace
) -> None:
    """Texts, questions and spans as either side reads them."""
    files = {document.id: f"{number:06}.txt" for number, document in enumerate(documents)}
    (folder / "files").mkdir(parents=True)
    for document in documents:
        (folder / "files" / files[document.id]).write_bytes(document.text.encode())
    rows = {
        "documents": (
            {"id": document.id, "title": "" if options.no_titles else document.title, "text": document.text}
            for document in documents
        ),
        "questions": (
            {"id": question.id, "question": question.question, "split": "dev", "spans": spans}
            for question, spans in asked
        ),
        "contextgrid": (
            {
                "id": question.id,
                "question": question.question,
                "gold": [{"doc_id": files[id], "start": start, "end": end} for id, start, end in spans],
            }
            for question, spans in asked
        ),
    }
    for name, lines in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _spans(question: Any, texts: Mapping[str, str]) -> list[tuple[str, int, int]]:
    """A question's own spans, or the first place of an accepted answer in a gold document."""
    if question.spans:
        return list(question.spans)
    for id in question.evidence or ():
        for answer in question.answers:
            start = texts[id].find(answer) if answer else -1
            if start >= 0:
                return [(id, start, start + len(answer))]
    return []


def _sweep(folder: Path, retrievers: Sequence[str], repeat: int, rival: str | None, options: argparse.Namespace) -> str:
    """Measure one sweep on both sides, print it, and return the closing line."""
    configurations = len(options.chunk_tokens) * len(retrievers)
    print(f"\n{configurations} configurations: recursive {options.chunk_tokens} × {', '.join(retrievers)}")
    ours, theirs = [], None
    starts = [_in_fresh_process(folder / _LEAST, retrievers)]
    if rival:
        starts.append(_contextgrid(rival, folder / _LEAST, options.chunk_tokens, retrievers))
    for number in range(repeat):
        ours.append(_in_fresh_process(folder, retrievers))
        if rival and number == (repeat - 1) // 2:
            theirs = _contextgrid(rival, folder, options.chunk_tokens, retrievers)
    print("  ours: " + "; ".join(", ".join(f"{k} {v:.2f} s" for k, v in run["seconds"].items()) for run in ours))
    done = Counter(ours[0]["executed"])
    naive = Counter(stage for retriever in retrievers for stage in _STAGES[retriever] * len(options.chunk_tokens))
    print("  stages: " + ", ".join(f"{stage} {done[stage]} times (naive {naive[stage]})" for stage in naive))
    executed = f"{done.total()} stages executed of {naive.total()} in the naive count"
    print(f"  {executed}")
    seconds = statistics.median(run["seconds"]["whole command"] for run in ours)
    _print_scores("ours", ours[0]["scores"])
    by_chunks = {
        name: {size: _by_chunks(folder, size, by_size[str(size)]) for size in options.chunk_tokens}
        for name, by_size in ours[0]["retrieved"].items()
    }
    _print_scores("ours, as context-grid counts recall@5", by_chunks)
    if theirs is None:
        return executed
    print(f"  context-grid {theirs['version']}: whole command {theirs['seconds']:.2f} s; chunks {theirs['chunks']}")
    for name, scores in theirs["scores"].items():
        _print_scores(f"context-grid {name}", scores)
    ratio = theirs["seconds"] / seconds
    work = statistics.median(run["cpu_seconds"] for run in ours)
    print(f"  ours is {ratio:.1f} times as fast ({seconds:.2f} s against {theirs['seconds']:.2f} s),", end=" ")
    print(f"with {work:.1f} CPU seconds against {theirs['cpu_seconds']:.1f}")
    mine, its = (start["cpu_seconds"] for start in starts)
    print(
        f"  of which {mine:.2f} and {its:.2f} go on one document and one question (starting, importing, reporting);",
        end=" ",
    )
    print(f"in the rest, ours takes 1/{(theirs['cpu_seconds'] - its) / (work - mine):.1f} of the CPU seconds")
    return f"ratio {ratio:.1f}"


def _print_scores(who: str, scores: Mapping[str, Mapping[str, float]]) -> None:
    for retriever, by_size in scores.items():
        values = ", ".join(f"{size}: {value:.3f}" for size, value in by_size.items())
        print(f"  {who if '@' in who else f'{who} {_METRIC}'}, {retriever}: {values}")


# ------------------------------------------------------------------------------------------------------------ ours


def _in_fresh_process(folder: Path, retrievers: Sequence[str]) -> dict[str, Any]:
    command = [sys.executable, __file__, *sys.argv[1:], "--measure", str(folder), "--retrievers", *retrievers]
    started, spent = time.perf_counter(), _cpu_seconds()
    measured: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    measured["seconds"]["whole command"] = time.perf_counter() - started
    measured["cpu_seconds"] = _cpu_seconds() - spent
    return measured


def _cpu_seconds() -> float:
    """Of the processes started here that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _run(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One sweep in a new store with an empty cache."""
    sizes = options.chunk_tokens
    experiment = {
        "corpus": str(folder),
        "evalset": str(folder),
        "metrics": [_METRIC],
        "goal": {"metric": _METRIC},
        "space": {
            "model": ["none"],
            "retriever": options.retrievers,
            "embedder": [options.embedder],
            "chunker": [_chunker(size) for size in sizes],
        },
        "strategy": "grid",
        "name": "sweep",
    }
    with tempfile.TemporaryDirectory(dir=folder) as place:
        os.environ["WORKBENCH_CACHE"] = f"{place}/cache"
        store = workbench.Store(f"{place}/sweep.db")
        started = time.perf_counter()
        workbench.run(experiment, store=store)
        seconds = {"run": time.perf_counter() - started}
        run = store.get("sweep").id
        one_offs = store.one_offs(run)
        configurations = {trial.configuration.id: trial.configuration for trial in store.trials(run)}
        found: defaultdict[str, defaultdict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        retrieved: defaultdict[str, defaultdict[int, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
        for scored in store.answers(run, texts=False):
            axes = configurations[scored.answer.configuration].axes
            values = (score.value for score in scored.scores if score.metric == _METRIC and score.value is not None)
            size = axes["chunker"]["chunk_tokens"]
            found[axes["retriever"]][size] += values
            retrieved[axes["retriever"]][size][scored.answer.question] = scored.answer.retrieved[:5]
        store.close()
    for work in one_offs:
        if work.work in ("load", "chunk", "embed", "index"):
            seconds[work.work] = seconds.get(work.work, 0.0) + work.reading.seconds
    return {
        "seconds": seconds,
        "executed": Counter(work.work for work in one_offs if work.work in ("chunk", "embed", "index")),
        "scores": {name: {size: statistics.fmean(found[name][size]) for size in sizes} for name in options.retrievers},
        "retrieved": retrieved,
    }


def _chunker(size: int) -> dict[str, Any]:
    return {"name": "recursive", "chunk_tokens": size, "chunk_overlap": size // _OVERLAP}


def _by_chunks(folder: Path, size: int, retrieved: Mapping[str, Sequence[Any]]) -> float:
    """Recall as context-grid counts it: how many of the chunks that hold at least half of a gold span are among the first five."""
    corpus = workbench.load_corpus(str(folder))
    documents = {document.id: document for document in corpus.documents}
    chunker = registry.build("chunkers", _chunker(size))
    cut = {id: [(chunk.start, chunk.end) for chunk in chunker.split(each)] for id, each in documents.items()}
    shares = []
    for question in workbench.load_evalset(str(folder), corpus).questions:
        relevant = {
            (document, start, end)
            for document, first, last in question.spans
            for start, end in cut[document]
            if 2 * (min(end, last) - max(start, first)) >= last - first
        }
        if relevant:
            shares.append(len(relevant & set(map(tuple, retrieved[question.id]))) / len(relevant))
    return statistics.fmean(shares)


# ---------------------------------------------------------------------------------------------------- context-grid


def _contextgrid(command: str, folder: Path, sizes: Sequence[int], retrievers: Sequence[str]) -> dict[str, Any]:
    """Version, seconds of the whole command, chunks per size, and scores by metric, index and size."""
    configuration = {
        "corpus": "files",
        "evalset": "contextgrid.jsonl",
        "grid": {
            "parser": "text",
            "chunker": [f"recursive:{size},overlap={size // _OVERLAP}" for size in sizes],
            "embedder": None if retrievers == ["bm25"] else "tfidf",
            "index": list(retrievers),
        },
        "run": {"mode": "factorial", "k": 10, "headline": _METRIC},
        "report": {"out": "contextgrid", "formats": ["json"]},
    }
    (folder / "contextgrid.json").write_text(json.dumps(configuration), encoding="utf-8")
    version = subprocess.run([command, "--version"], check=True, capture_output=True, text=True).stdout.split()[-1]
    started, spent = time.perf_counter(), _cpu_seconds()
    subprocess.run([command, "run", "contextgrid.json", "--quiet"], cwd=folder, check=True, capture_output=True)
    seconds, cpu_seconds = time.perf_counter() - started, _cpu_seconds() - spent
    results = json.loads((folder / "contextgrid" / "results.json").read_text(encoding="utf-8"))
    runs = dict(_by_size(results["runs"], sizes))
    return {
        "version": version,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "chunks": {size: run["chunks"] for (_, size), run in runs.items()},
        "scores": {
            metric: {
                name: {size: run["metrics"][metric] for (index, size), run in runs.items() if index == name}
                for name in retrievers
            }
            for metric in (_METRIC, f"char_{_METRIC}")
        },
    }


def _by_size(runs: Sequence[Mapping[str, Any]], sizes: Sequence[int]) -> Iterator[tuple[tuple[str, int], Any]]:
    for run in runs:
        size = next(size for size in sizes if run["config"]["chunker"].startswith(f"recursive:{size},"))
        yield (run["config"]["index"], size), run


if __name__ == "__main__":
    main()
