"""The same configuration twice: how often the interval of the difference contains 0, as it should.

Every comparison asks ``--pairs`` questions of the embedded model twice, under the names A and B. Two questions p and q are
asked as A(p) B(q) B(p) A(q): a machine that slowly changes favours neither name, and no prompt meets the cache of itself. The
difference is that of CPU-seconds per answer, paired by question, with its two-sided bootstrap interval of 95 %. An interval
without 0 finds a difference that is not there.

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

_WARM_UP = 5  # answers


def main() -> None:
    """Compare, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--pairs", type=int, default=20, help="questions in a comparison, an even number (default: %(default)s)"
    )
    parser.add_argument("--comparisons", type=int, default=20, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    if options.pairs < 2 or options.pairs % 2:
        parser.error(f"--pairs is {options.pairs}; expected an even number from 2 on")
    answering = Answering()
    configuration = answering.prepare()
    generator = random.Random(options.seed)  # noqa: S311 - a reproducible choice, not a secret
    answering.ask(configuration, answering.questions[:_WARM_UP])  # not counted
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
    a, b = [], []
    for first, second in zip(questions[::2], questions[1::2], strict=True):
        answers = answering.ask(configuration, [first, second, first, second])
        a_first, b_second, b_first, a_second = map(cpu_seconds, answers)
        a += [a_first, a_second]
        b += [b_first, b_second]
    return np.array(a), np.array(b)


if __name__ == "__main__":
    main()
