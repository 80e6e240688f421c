"""How much memory BM25 over many short documents takes: the peak of our process, against bm25s alone over the same file.

Documents of about 100 made-up words, as JSON lines in the native format. *Ours* is a process that reads them with
``load_corpus``, leaves them whole (the chunker ``document``), builds the bm25 index and stores it in an empty cache as a run
does, and asks one question. *Plain* is a process that reads the same file line by line into a list of texts, gives it to
``bm25s.tokenize`` and ``BM25.index``, and asks the same question; it keeps the texts, as whoever shows what was found must,
and has neither identifiers nor titles. Each peak is the resident set size that the system reports for a fresh process
(``getrusage``), the interpreter and the same libraries (some 80 MB) included.

    python benchmarks/memory.py                          # 100,000 documents
    python benchmarks/memory.py --documents 1000000      # the figure of the project's promise: minutes, and gigabytes

The last line is our peak divided by the plain one; the project promises at most 1.3 for a million documents.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bm25s
from bm25 import made_up

from workbench.index import Indexes
from workbench.library import load_corpus
from workbench.meters.cpu_time import CpuTime
from workbench.records import Configuration

_FULL = 1_000_000
_VOCABULARY = 200_000
_DEPTH = 50
_KILOBYTE = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


def main() -> None:
    """Make the documents, measure both sides, and print their peaks."""
    options = _options()
    if options.measure:
        side = {"ours": _ours, "plain": _plain}[options.measure[0]]
        print(json.dumps(side(Path(options.measure[1]), options)))
        return
    with tempfile.TemporaryDirectory(prefix="memory-") as place:
        folder = Path(place)
        _make(folder, options)
        size = (folder / "documents.jsonl").stat().st_size
        print(f"{options.documents:,} documents, {size / 1e6:,.0f} MB of JSON lines, BM25")
        measured = {side: _in_fresh_process(side, folder) for side in ("ours", "plain")}
    for side, (peak, seconds, found) in measured.items():
        print(f"  {side:5} peak {peak / 1e6:,.0f} MB, {seconds:.0f} s, {found} passages found")
    if options.documents < _FULL:
        print(f"  for the promise itself: --documents {_FULL}")
    print(f"{measured['ours'][0] / measured['plain'][0]:.2f}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--documents", type=int, default=100_000, help="size of the corpus (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="what the documents are made from (default: %(default)s)")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def _make(folder: Path, options: argparse.Namespace) -> None:
    """The documents, written as they are made: a child's peak must not begin with this process's own."""
    with (folder / "documents.jsonl").open("w", encoding="utf-8") as file:
        for number, (title, text) in enumerate(made_up(options.documents, options.seed, _VOCABULARY)):
            file.write(json.dumps({"id": f"d{number}", "title": title, "text": text}) + "\n")


def _in_fresh_process(side: str, folder: Path) -> tuple[int, float, int]:
    """Bytes at the peak, seconds, and passages found."""
    started = time.perf_counter()
    command = [sys.executable, __file__, *sys.argv[1:], "--measure", side, str(folder)]
    peak, found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return peak, time.perf_counter() - started, found


def _question(options: argparse.Namespace) -> str:
    ((_, text),) = islice(made_up(1, options.seed, _VOCABULARY), 1)
    return " ".join(text.split()[10:30])


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KILOBYTE


def _ours(folder: Path, options: argparse.Namespace) -> tuple[int, int]:
    indexes = Indexes(load_corpus(folder), folder / "cache", record=lambda work: None, meter=CpuTime())
    retriever = indexes.retriever(
        Configuration({"retriever": {"name": "bm25", "depth": _DEPTH}, "chunker": "document"})
    )
    found = 0 if retriever is None else len(list(retriever.search(_question(options))))
    return _peak(), found


def _plain(folder: Path, options: argparse.Namespace) -> tuple[int, int]:
    with (folder / "documents.jsonl").open(encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    index = bm25s.BM25()
    index.index(bm25s.tokenize(texts, show_progress=False), show_progress=False)
    asked = bm25s.tokenize(_question(options), return_ids=False, show_progress=False)
    found, _ = index.retrieve(asked, corpus=texts, k=min(_DEPTH, len(texts)), show_progress=False)
    return _peak(), found.size


if __name__ == "__main__":
    main()
