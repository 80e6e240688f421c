"""Records a matrix of real answers for benchmarks/search.py: every configuration of an experiment, every question.

    python benchmarks/record.py                                    # what is recorded here
    python benchmarks/record.py benchmarks/data/python-reference-retrieval.yaml OUT.jsonl.gz
    python benchmarks/record.py benchmarks/data/xquad-retrieval.yaml OUT.jsonl.gz --data FOLDER

The answers are asked through ``workbench.run`` and kept in a store under ``runs/``, so that the same command goes on after
an interruption. What is written are numbers, identifiers and axes: the score of the deciding metric, standalone joules
and tokens of every answer. Texts stay in the store.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import workbench
from benchmarks.searching.matrix import Matrix, read_matrix, write_matrix
from workbench.errors import InputError

_EVERY_SECONDS = 20


def main(arguments: Sequence[str] | None = None) -> None:
    """Record, or say what is recorded."""
    options = _options(arguments)
    try:
        if options.experiment is None:
            for path in sorted((Path(__file__).parent / "data").glob("*.jsonl.gz")):
                print(_described(read_matrix(path)))
            return
        matrix = record(options)
    except workbench.WorkbenchError as error:
        raise SystemExit(f"record: {error}") from error
    write_matrix(matrix, options.out)
    print(_described(matrix))


def record(options: argparse.Namespace) -> Matrix:
    """Ask what is still unanswered, and read the whole run back as a matrix."""
    experiment = workbench.read_experiment(options.experiment)
    changes: dict[str, object] = {"strategy": "grid"}
    if options.data:
        changes |= {"corpus": str(options.data), "evalset": str(options.data)}
    if options.limit:
        changes["questions"] = experiment.questions.model_copy(update={"limit": options.limit})
    experiment = experiment.model_copy(update=changes)
    store = workbench.Store(f"runs/{options.out.name.partition('.')[0]}.db")
    workbench.run(experiment, store=store, retry_failed=options.retry_failed, progress=_Told().tell)
    found = workbench.compare(experiment.name, store=store)
    scores = found.matrix.scores[found.goal.metric]
    joules, tokens = found.matrix.costs["joules"], found.matrix.costs["tokens"]
    whole = ~(np.isnan(joules) | np.isnan(tokens)).any(axis=1)  # a space that shrank leaves others half answered
    if not whole.any():
        raise InputError(
            f"none of {len(whole)} configurations answered every question; run it again with --retry-failed"
        )
    kept = np.flatnonzero(whole)
    configurations = [found.matrix.configurations[row] for row in kept]
    return Matrix(
        name=experiment.name,
        configurations=tuple(each.id for each in configurations),
        axes=tuple(each.axes for each in configurations),
        questions=tuple(question.id for question in found.matrix.questions),
        scores=np.nan_to_num(scores[kept]),  # a question that the metric does not apply to counts 0, as in a race
        joules=joules[kept],
        tokens=tokens[kept],
    )


class _Told:
    """Says now and then how far the run is."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def tell(self, progress: object) -> None:
        """One line on standard error, at most every so often."""
        if time.monotonic() - self._last > _EVERY_SECONDS:
            self._last = time.monotonic()
            print(f"{progress.done} of {progress.total} answers, {progress.failures} failures", file=sys.stderr)  # type: ignore[attr-defined]


def _described(matrix: Matrix) -> str:
    means, joules = matrix.scores.mean(axis=1), matrix.joules.mean(axis=1)
    return (
        f"{matrix.name}: {len(means)} configurations × {matrix.scores.shape[1]} questions; scores {means.min():.3f} to "
        f"{means.max():.3f}, {joules.min():.3g} to {joules.max():.3g} joules per answer"
    )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("experiment", nargs="?", type=Path, help="an experiment file (default: list what is recorded)")
    parser.add_argument("out", nargs="?", type=Path, help="where to write, such as benchmarks/data/NAME.jsonl.gz")
    parser.add_argument("--data", type=Path, help="a folder with documents.jsonl and questions.jsonl to use instead")
    parser.add_argument("--limit", type=int, help="ask only so many questions")
    parser.add_argument("--retry-failed", action="store_true", help="ask again what failed")
    options = parser.parse_args(arguments)
    if options.experiment is not None and options.out is None:
        parser.error("OUT is missing; expected a file to write, such as benchmarks/data/NAME.jsonl.gz")
    return options


if __name__ == "__main__":
    main()
