"""What a busy neighbour changes: CPU-seconds of answers alone and beside a process that keeps one core busy.

The same questions in alternating blocks with and without the neighbour. Wall time suffers; CPU-seconds, which energy is made
from, should change by less than 15 %, and the answers should be flagged as disturbed.

    python benchmarks/neighbour.py

The last line is the change of the median and the share of answers that were flagged.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

from _answers import Answering, busy_neighbours, cpu_seconds

from workbench.records import Answer

_BLOCK = 6
_SEEN = 1.2  # seconds until the meter has sampled the neighbour


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--questions", type=int, default=30, help="(default: %(default)s)")
    parser.add_argument("--neighbours", type=int, default=1, help="cores kept busy (default: %(default)s)")
    options = parser.parse_args()
    answering = Answering()
    configuration = answering.prepare()
    alone: list[Answer] = []
    beside: list[Answer] = []
    answering.ask(configuration, answering.questions[-_BLOCK:])  # a warm-up that is not counted
    for start in range(0, options.questions, _BLOCK):
        block = answering.questions[start : start + _BLOCK]
        for neighbours, found in ((0, alone), (options.neighbours, beside)):
            with busy_neighbours(neighbours):
                time.sleep(_SEEN)
                answering.ask(configuration, answering.questions[-1:])  # lets the meter sample the load
                found += answering.ask(configuration, block)
    answering.close()
    for name, answers in (("alone", alone), ("beside a busy core", beside)):
        print(
            f"{name}: {median(map(cpu_seconds, answers)):.4f} CPU-s, {median(answer.seconds for answer in answers):.4f} s, "
            f"{sum(not answer.undisturbed for answer in answers)} of {len(answers)} flagged"
        )
    change = median(map(cpu_seconds, beside)) / median(map(cpu_seconds, alone)) - 1
    print(f"{change:+.1%} CPU-seconds, {sum(not answer.undisturbed for answer in beside) / len(beside):.0%} flagged")


if __name__ == "__main__":
    main()
