"""What the ledger books against what the operating system saw of the process, at concurrency 1, 2, 4 and 8.

Answers of the embedded model: the CPU-seconds of all their stages, summed, beside the process's own CPU time over the same
stretch as psutil reads it from the system. Nothing may be counted twice or lost; what lies between answers is outside.

    python benchmarks/conservation.py
    python benchmarks/conservation.py --questions 16

The last line is the largest deviation. It should be below 3 %.
"""

from __future__ import annotations

import argparse

import psutil
from _answers import Answering, cpu_seconds


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--questions", type=int, default=32, help="answers at each concurrency (default: %(default)s)")
    parser.add_argument("--meter", default="cpu_time")
    options = parser.parse_args()
    answering = Answering(options.meter)
    process, worst = psutil.Process(), 0.0
    for concurrency in (1, 2, 4, 8):
        configuration = answering.prepare(concurrency=concurrency)
        before = process.cpu_times()
        answers = answering.ask(configuration, answering.questions[: options.questions])
        after = process.cpu_times()
        outside = after.user + after.system - before.user - before.system
        inside = sum(map(cpu_seconds, answers))
        worst = max(worst, abs(inside / outside - 1))
        shared = sum(any(cost.reading.shared for cost in answer.ledger.stages) for answer in answers)
        print(
            f"concurrency {concurrency}: ledger {inside:.3f} CPU-s, system {outside:.3f} CPU-s, {inside / outside - 1:+.2%}; "
            f"{shared} of {len(answers)} answers shared a window",
            flush=True,
        )
    answering.close()
    print(f"{worst:.2%} at most")


if __name__ == "__main__":
    main()
