"""How much of the full grid each search needs, how often its pick is sound, and how often its claims are false.

Every method is replayed on complete matrices under many seeded orders of the questions: made-up landscapes of which the truth
is known (60 configurations, near-ties as in real RAG grids), answers of real runs recorded by ``record.py``, the worst cases,
or a matrix of yours.

    python benchmarks/search.py                      # everything: some ten minutes on two cores
    python benchmarks/search.py --quick
    python benchmarks/search.py --matrix FILE --margin 0.05 --confidence 0.95 --seeds 40 --format json

A matrix is a file of JSON lines, one for every answer, plain or .gz: {"configuration", "question", "score", "joules",
"tokens", "axes": {…}}, scores from 0 to 1, every configuration on every question. Two thirds of the questions are searched,
a third is kept as the test split of the default race.

*Sound*: within δ of the best and at most 1.05 times the cheapest within δ/2, on the questions searched. *Exact*: what the
full grid picks, within 5 % of the cost. Shares are of the full grid over the questions searched; what the default race asks
of the test split is in its share. Rivals look for the same thing: the cheapest within δ of the best of those that answered
everything. The hindsight floor knows pick and best beforehand and is no method.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.searching import report
from benchmarks.searching.landscapes import LANDSCAPES, WORST_CASES
from benchmarks.searching.matrix import read_matrix
from benchmarks.searching.trials import Judged, Task, replay
from workbench.errors import InputError

_MARGINS = (0.02, 0.05, 0.10)
_SEEDS = {200: 40, 500: 24}  # replays of a landscape, by its number of questions
_REAL_SEEDS = 24
_WORST_SEEDS = 60
_QUICK = 8  # times fewer


def main(arguments: Sequence[str] | None = None) -> None:
    """Replay, and print what it comes to."""
    options = _options(arguments)
    try:
        tasks = list(_tasks(options))
    except InputError as error:
        raise SystemExit(f"search: {error}") from error
    table = report.rows(_replayed(tasks, options.workers))
    goals = report.checks(table, 1 - options.confidence)
    if options.chart:
        report.draw_frontier(table, options.chart)
    if options.format == "json":
        print(report.as_json(table, goals))
        return
    if options.format == "markdown":
        print("\n\n".join(report.as_markdown(table, margin) for margin in options.margin))
    else:
        print(report.as_table(table))
    missed = [check for check in goals if not check.met]
    for check in missed:
        print(f"not met: {check.where}: {check.goal}: {check.measured}")
    print(f"{len(goals) - len(missed)} of {len(goals)} goals met")


def _replayed(tasks: list[Task], workers: int) -> Iterator[Judged]:
    with ProcessPoolExecutor(workers) as pool:
        for number, found in enumerate(pool.map(replay, tasks), 1):
            if sys.stderr.isatty():
                print(f"\r{number} of {len(tasks)}", end="", file=sys.stderr)
            yield from found
    if sys.stderr.isatty():
        print(file=sys.stderr)


def _tasks(options: argparse.Namespace) -> Iterator[Task]:
    margins, confidence = tuple(options.margin), options.confidence

    def seeds(default: int) -> range:
        return range(options.seeds or max(default // (_QUICK if options.quick else 1), 2))

    files = options.matrix or sorted((Path(__file__).parent / "data").glob("*.jsonl.gz"))
    for matrix in map(read_matrix, files):
        for seed in seeds(_REAL_SEEDS):
            yield Task(
                source=matrix, questions=len(matrix.questions), margins=margins, confidence=confidence, seed=seed
            )
    if options.matrix:
        return
    for questions, default in _SEEDS.items():
        for name in LANDSCAPES:
            for seed in seeds(default):
                yield Task(source=name, questions=questions, margins=margins, confidence=confidence, seed=seed)
    for kind in WORST_CASES:
        for seed in seeds(_WORST_SEEDS):
            yield Task(source=kind, questions=200, margins=(0.05,), confidence=confidence, seed=seed)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--matrix", type=Path, nargs="+", help="files to replay (default: landscapes and recorded ones)"
    )
    parser.add_argument("--margin", type=float, nargs="+", default=_MARGINS, help="default: 0.02 0.05 0.1")
    parser.add_argument("--confidence", type=float, default=0.95, help="default: %(default)s")
    parser.add_argument("--seeds", type=int, help="orders of the questions (default: 24 to 60, see the file)")
    parser.add_argument("--format", choices=["table", "markdown", "json"], default="table", help="default: %(default)s")
    parser.add_argument("--chart", type=Path, help="write the frontier as SVG, such as docs/images/search.svg")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help=f"{_QUICK} times fewer orders")
    options = parser.parse_args(arguments)
    problems = [
        f"--margin: {margin:g}; expected more than 0 and less than 1" for margin in options.margin if not 0 < margin < 1
    ]
    if not 0.5 < options.confidence < 1:
        problems.append(f"--confidence: {options.confidence:g}; expected more than 0.5 and less than 1")
    if options.seeds is not None and options.seeds < 1:
        problems.append(f"--seeds: {options.seeds}; expected at least 1")
    if problems:
        parser.error("; ".join(problems))
    return options


if __name__ == "__main__":
    main()
