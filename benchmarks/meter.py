"""What metering an answer costs: the clocks read and the ledger's readings made, around stages that do nothing.

    python benchmarks/meter.py

Prints microseconds per answer (the stages assemble, search and generate, as the pipeline opens them), and what share
of an answer of 5 ms and of 1 s that is. The last line is the share of a 5 ms answer, in percent.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from workbench.ledger import Recorder, stage
from workbench.meters.cpu_time import CpuTime


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--answers", type=int, default=5000, help="answers in a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=11, help="rounds; the fastest counts (default: %(default)s)")
    options = parser.parse_args()
    meter = CpuTime()
    metered, bare = (
        min(_seconds(work, options.answers) for _ in range(options.rounds)) for work in (lambda: _metered(meter), _bare)
    )
    overhead = (metered - bare) / options.answers
    print(f"{overhead * 1e6:.1f} µs per answer; {overhead:.4%} of an answer of 1 s")
    print(f"{overhead / 0.005:.2%} of an answer of 5 ms")


def _seconds(work: Callable[[], object], answers: int) -> float:
    started = time.perf_counter()
    for _ in range(answers):
        work()
    return time.perf_counter() - started


def _metered(meter: CpuTime) -> None:
    with Recorder(meter) as recorder:
        _bare()
    recorder.stages()


def _bare() -> None:
    """Stages outside an answer: they look for a recorder and find none."""
    with stage("search"):
        pass
    with stage("generate"):
        pass


if __name__ == "__main__":
    main()
