"""The same configuration twice: how often the interval of the difference contains 0, as it should.

Every comparison asks ``--pairs`` questions of the embedded model twice, under the names A and B, in blocks in the order
A B B A, so that a machine that slowly changes favours neither. The difference is that of CPU-seconds per answer, paired by
question, with its two-sided bootstrap interval of 95 %. An interval without 0 finds a difference that is not there.

    python benchmarks/aa.py
    python benchmarks/aa.py --pairs 20 --comparisons 10

Prints every comparison; the last line is the share of intervals that contain 0. At least 90 % should.
"""

from __future__ import annotations

import argparse
import random

import numpy as np
from _answers import Answering, cpu_seconds

from workbench.records import Configuration, Question
from workbench.stats import interval, paired_ratio

_BLOCK = 5


def main() -> None:
    """Compare, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=20, help="questions in a comparison (default: %(default)s)")
    parser.add_argument("--comparisons", type=int, default=20, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    answering = Answering()
    configuration = answering.prepare()
    generator = random.Random(options.seed)  # noqa: S311 - a reproducible choice, not a secret
    answering.ask(configuration, answering.questions[:_BLOCK])  # a warm-up that is not counted
    contained = 0
    for number in range(1, options.comparisons + 1):
        questions = generator.sample(answering.questions, options.pairs)
        a, b = _compare(answering, configuration, questions)
        difference, ratio = interval(a - b, 0.95), paired_ratio(a, b, 0.95)
        assert difference is not None
        assert ratio is not None
        contained += difference.low <= 0 <= difference.high
        print(
            f"{number:3}: {a.mean():.4f} against {b.mean():.4f} CPU-s per answer, difference {difference.mean:+.4f} "
            f"({difference.low:+.4f} to {difference.high:+.4f}), ratio {ratio.mean:.3f} ({ratio.low:.3f}–{ratio.high:.3f})",
            flush=True,
        )
    answering.close()
    print(f"{contained / options.comparisons:.0%} of {options.comparisons} intervals contain 0")


def _compare(
    answering: Answering, configuration: Configuration, questions: list[Question]
) -> tuple[np.ndarray, np.ndarray]:
    costs: dict[str, list[float]] = {"A": [], "B": []}
    for number, start in enumerate(range(0, len(questions), _BLOCK)):
        for name in "AB" if number % 2 == 0 else "BA":
            answers = answering.ask(configuration, questions[start : start + _BLOCK])
            costs[name] += [cpu_seconds(answer) for answer in answers]
    return np.array(costs["A"]), np.array(costs["B"])


if __name__ == "__main__":
    main()
