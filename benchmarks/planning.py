"""How long planning takes, and how near plans come to the truth.

*Size*: a space of at most ``--configurations`` distinct configurations over python-reference (an embedded model that is not
loaded, BM25, prompts, chunk sizes, passages, budgets and sampler settings) is planned with ``--no-calibrate``. Seconds and
CPU-seconds are those of the call in a process that has loaded nothing.

*Truth*: with ``--truth NAME …`` each experiment is planned on this machine as it is now, then run in a store of its own, and
held against its plan: tokens, seconds and joules of all answers as they stand alone. ``--questions`` of each, the first of
its seeded order.

    python benchmarks/planning.py
    python benchmarks/planning.py --configurations 10000
    python benchmarks/planning.py --truth demo green-ai --questions 24

The project promises a plan of 100,000 configurations in seconds, tokens within 5 %, seconds and joules within 30 %.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import workbench
from workbench.planning import plan
from workbench.plans import compare_with_plan
from workbench.specification import read_experiment

_SPACE: dict[str, Any] = {
    "model": ["embedded:smollm2-135m"],
    "prompt": ["terse", "fewshot"],
    "retriever": ["bm25", {"name": "bm25", "stem": True}],
    "chunk_tokens": [64, 96, 128, 256],
    "passages": [1, 2, 3, 5, 8],
    "context_tokens": [256, 512, 1024],
    "max_tokens": [16, 32],
    "temperature": [0.3, 0.7, 1.0],
    "top_k": [5, 40],
}


def main() -> None:
    """Plan a large space, or hold plans against the truth."""
    options = _options()
    if options.truth:
        for name in options.truth:
            _truth(name, options.questions)
    else:
        _size(options.configurations)


def _size(configurations: int) -> None:
    distinct = 1
    for values in _SPACE.values():
        distinct *= len(values)
    space = {**_SPACE, "top_p": [1 - step / 1000 for step in range(max(configurations // distinct, 1))]}
    experiment = {
        "corpus": "python-reference",
        "evalset": "python-reference",
        "strategy": "race",
        "name": "large",
        "space": space,
    }
    started, spent = time.perf_counter(), time.process_time()
    found = plan(experiment, calibrate=False)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - spent
    print(f"{found.configurations:,} configurations planned in {seconds:.1f} s, {cpu_seconds:.1f} CPU-seconds")
    print(f"full grid: {found.grid.calls.central:,.0f} answers; raced, expected: {found.race.calls.central:,.0f}")


def _truth(name: str, questions: int) -> None:
    experiment = read_experiment(name)
    asked = experiment.questions.model_copy(update={"limit": questions})
    experiment = experiment.model_copy(update={"questions": asked})
    started = time.perf_counter()
    found = plan(experiment)
    planned = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        store = workbench.Store(f"{folder}/truth.db")
        workbench.run(experiment, store=store, name="truth")
        line = compare_with_plan(found, workbench.compare("truth", store=store))
        store.close()
    print(f"{name}, {found.configurations} configurations × {questions} questions, planned in {planned:.0f} s. {line}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configurations", type=int, default=100_000)
    parser.add_argument("--truth", nargs="*", default=[], metavar="EXPERIMENT")
    parser.add_argument("--questions", type=int, default=24)
    return parser.parse_args()


if __name__ == "__main__":
    main()
