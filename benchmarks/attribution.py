"""How near the division of shared windows comes to what each answer takes alone, with and without clocks of threads.

    python benchmarks/attribution.py

Pairs of pieces of work, first each alone, where its window is exact, then both at once: the one is charged with a share of
what both took together. Prints the first one's share alone, divided with the clocks of threads (as meters do it), and divided
equally by time (as they do where a system has no such clocks); the figures are medians of ``--rounds``.

- two threads that compute, one of them four times as much;
- one that computes beside one that waits, as for a provider;
- one that computes (searches) beside one whose answer the embedded model writes;
- two answers of the embedded model, one four times as long;
- one whose prompt of the embedded model is long, beside one that writes a long text: here the engine works for both in the
  same steps, and nothing tells how much for whom.

The last line is the largest distance between a share alone and in company, without the last pair.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from workbench import registry
from workbench.contracts import Meter, Model
from workbench.meters._threads import thread_clock
from workbench.meters.cpu_time import CpuTime
from workbench.records import Decoding, Message, Prompt

_STORY = (
    "Once upon a time there was a small village by the sea. Every morning the people of the village went out to fish. "
)
Work = Callable[[], object]


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    model = registry.build("models", {"name": "embedded:smollm2-135m", "style": "text", "slots": 2, "threads": 1})
    _writes(model, 2, 1)()
    pairs: dict[str, tuple[Work, Work]] = {
        "computes 4 : 1": (_computes(0.4), _computes(0.1)),
        "computes : waits": (_computes(0.2), lambda: time.sleep(0.3)),
        "searches : writes": (_computes(0.3), _writes(model, 24, 1)),
        "writes 4 : 1": (_writes(model, 48, 1), _writes(model, 12, 1)),
        "reads : writes": (_writes(model, 2, 16), _writes(model, 48, 1)),
    }
    worst = 0.0
    for name, (one, other) in pairs.items():
        alone, threads, equally = (
            statistics.median(measure(one, other) for _ in range(options.rounds))
            for measure in (_alone, _together(thread_clock), _together(lambda: None))
        )
        if name != "reads : writes":
            worst = max(worst, abs(threads - alone))
        print(f"{name:18} alone {alone:6.1%}, by threads {threads:6.1%}, equally {equally:6.1%}", flush=True)
    model.close()
    print(f"{worst:.1%} at most")


def _computes(seconds: float) -> Work:
    def work() -> None:
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            sum(range(1000))

    return work


def _writes(model: Model, tokens: int, sentences: int) -> Work:
    """A text of so many tokens after a prompt of so many times two sentences, of which nothing is in the engine's cache."""

    def work() -> None:
        prompt = f"{time.perf_counter_ns()} " + _STORY * sentences
        model.generate(
            Prompt(messages=(Message(role="user", content=prompt),)), Decoding(temperature=0.0, max_tokens=tokens)
        )

    return work


def _alone(one: Work, other: Work) -> float:
    meter = CpuTime()
    first, second = _cost(meter, one), _cost(meter, other)
    return first / (first + second)


def _together(thread: Callable[[], Callable[[], float] | None]) -> Callable[[Work, Work], float]:
    def measure(one: Work, other: Work) -> float:
        meter, costs = CpuTime(thread=thread), {}

        def book(number: int, work: Work) -> None:
            costs[number] = _cost(meter, work)

        threads = [threading.Thread(target=book, args=each) for each in enumerate((one, other))]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        return costs[0] / (costs[0] + costs[1])

    return measure


def _cost(meter: Meter, work: Work) -> float:
    mark = meter.start()
    work()
    reading = meter.stop(mark)
    return (reading.cpu_seconds if reading else None) or 0.0


if __name__ == "__main__":
    main()
