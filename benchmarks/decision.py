"""What a decision of the race takes: milliseconds from the answers of a round to the next round, over whole races.

Races of every level over made-up scores and costs, at 60 configurations × 200 questions and at 200 × 2000. A decision is
one call of ``Race.advance`` with everything stored so far, the check of what is missing included; it is timed on this
thread's own clock, so that other work on the machine does not count.

    python benchmarks/decision.py
    python benchmarks/decision.py --size 500x5000 --seeds 1

One line for each size, level and landscape; the last line is the worst of the medians. The project promises 5.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a decision is too short to be shared out

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from workbench.races import race
from workbench.racing import Level, Terms
from workbench.stats import Array

_LEVELS: tuple[Level, ...] = ("screen", "every", "reference")
_BEST_MEANS = {
    "wide": (0.1, 0.6),
    "typical": (0.3, 0.5),
    "flat": (0.4, 0.48),
}  # of the worst and the best configuration


def main() -> None:
    """Time every size, level and landscape, and print the worst median."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--size", nargs="+", default=["60x200", "200x2000"], help="configurations x questions (default: %(default)s)"
    )
    parser.add_argument("--seeds", type=int, default=3, help="races of each kind (default: %(default)s)")
    options = parser.parse_args()
    medians = []
    for size in options.size:
        configurations, questions = map(int, size.split("x"))
        for level in _LEVELS:
            for landscape in _BEST_MEANS:
                taken: list[float] = []
                for seed in range(options.seeds):
                    taken += _decisions(level, *_made_up(landscape, configurations, questions, seed))
                medians.append(statistics.median(taken))
                print(
                    f"{size:>9} {level:<9} {landscape:<8} {len(taken):>4} decisions: "
                    f"median {medians[-1]:.2f} ms, max {max(taken):.2f} ms"
                )
    print(f"worst median {max(medians):.2f} ms")


def _made_up(landscape: str, configurations: int, questions: int, seed: int) -> tuple[Array, Array]:
    """Scores with mass at 0 and 1 from difficulty and ability, and costs that rise with quality; (configurations, questions)."""
    generator = np.random.default_rng(seed)
    worst, best = _BEST_MEANS[landscape]
    means = generator.uniform(worst, best, configurations)
    latent = generator.normal(0, 1, questions) + generator.normal(0, 0.8, (configurations, questions))
    rank = np.argsort(np.argsort(latent, axis=1), axis=1) / questions
    scores = np.clip((means[:, None] - rank) / 0.25 + 0.5, 0, 1)
    level = np.exp(3 * (means - worst) / (best - worst) + generator.normal(0, 0.4, configurations))
    return scores, level[:, None] * np.exp(generator.normal(0, 0.5, (configurations, questions)))


def _decisions(level: Level, scores: Array, costs: Array) -> list[float]:
    """Milliseconds of every decision of one race."""
    reference = int(scores.mean(axis=1).argmax()) if level == "reference" else None
    going = race(
        Terms(margin=0.05, level=level, reference=reference),
        costs.mean(axis=1),
        scores.shape[1],
        np.zeros(len(scores), dtype=bool),
    )
    answered = np.zeros(scores.shape, dtype=bool)
    stored, paid, seconds = (np.full(scores.shape, np.nan) for _ in range(3))
    taken = []
    while True:
        started = time.thread_time()
        cells = going.advance(stored, answered, paid, seconds)
        taken.append(1e3 * (time.thread_time() - started))
        if not cells:
            return taken
        rows, columns = np.array(cells).T
        answered[rows, columns] = True
        stored[rows, columns], paid[rows, columns] = scores[rows, columns], costs[rows, columns]


if __name__ == "__main__":
    main()
