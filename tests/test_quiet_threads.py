"""A busy neighbour must not change what an answer costs: threads that wait must sleep, not spin."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from math import sqrt
from statistics import median

import pytest

from tests.conftest import ROOT, needs_embedded, needs_minilm, python

pinnable = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="nothing can be kept on one core here")

ALLOWED = 0.15  # of the CPU-seconds measured alone
FEWEST, MOST = 7, 31  # pairs of measurements

# Does its work once for every line it reads, and says how many CPU-seconds that took.
WORKER = """
import sys, time
from workbench import registry
from workbench.records import Decoding, Message, Prompt
{prepare}
for number, line in enumerate(sys.stdin):
    before = time.process_time()
    {work}
    print(time.process_time() - before, flush=True)
"""
ANSWER = WORKER.format(
    prepare='model = registry.build("models", "embedded:smollm2-135m")\nstory = "The lighthouse keeper counts the ships. " * 10',
    work='model.generate(Prompt(messages=(Message(role="user", content=f"{number % 2} {story}"),)), Decoding(temperature=0, max_tokens=4))',
)
EMBEDDING = WORKER.format(
    prepare='embedder = registry.build("embedders", "embedded:minilm-l6")\ntexts = ["The keeper counts the ships. " * 12] * 8',
    work="embedder.embed(texts)",
)
SPINNER = """
import os, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
ends = time.monotonic() + 300  # even if whoever started it was killed
while time.monotonic() < ends: pass
"""


@contextmanager
def running(code: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is gone afterwards whatever happens."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    environment.pop("OMP_WAIT_POLICY", None)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def cpu_seconds(worker: subprocess.Popen[str]) -> float:
    worker.stdin.write("\n")
    worker.stdin.flush()
    return float(worker.stdout.readline())


def change_beside_a_busy_loop(code: str) -> float:
    """CPU-seconds beside a busy loop on one core over those alone, minus 1.

    The two take turns, so that what else goes on here strikes both of a pair; the median of the pairs leaves bursts out.
    The noisier the machine the more pairs are measured: until the median's 95 % interval lies on one side of the bound.
    """
    changes: list[float] = []
    with running(SPINNER) as spinner, running(code) as worker:
        spinner.send_signal(signal.SIGSTOP)
        for _ in range(2):
            cpu_seconds(worker)  # warm
        while len(changes) < FEWEST or (len(changes) < MOST and undecided(changes)):
            measured = {}
            for busy in (False, True) if len(changes) % 2 else (True, False):
                spinner.send_signal(signal.SIGCONT if busy else signal.SIGSTOP)
                measured[busy] = cpu_seconds(worker)
            changes.append(measured[True] / measured[False] - 1)
    return median(changes)


def undecided(changes: list[float]) -> bool:
    """Whether the bound lies within the order statistics that hold the median with 95 % confidence."""
    aside = int((len(changes) - 1.96 * sqrt(len(changes))) / 2)
    low, high = sorted(changes)[aside], sorted(changes)[-1 - aside]
    return any(low <= bound <= high for bound in (-ALLOWED, ALLOWED))


@pinnable
@needs_embedded
def test_an_answer_costs_the_same_beside_a_busy_loop():
    assert abs(change_beside_a_busy_loop(ANSWER)) < ALLOWED


@pinnable
@needs_minilm
def test_an_embedding_costs_the_same_beside_a_busy_loop():
    assert abs(change_beside_a_busy_loop(EMBEDDING)) < ALLOWED


@pytest.mark.parametrize("stated", [None, "active"])
def test_waiting_threads_are_told_to_sleep_before_openmp_is_loaded(stated, monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    code = "import sys, os, workbench; print(os.environ['OMP_WAIT_POLICY'], 'numpy' in sys.modules, 'torch' in sys.modules)"
    result = python("-c", code, **({"OMP_WAIT_POLICY": stated} if stated else {}))
    assert result.stdout.split() == [stated or "passive", "False", "False"]


@needs_minilm
def test_openmp_itself_says_that_it_waits_passively(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    result = python("-c", "import workbench, torch", OMP_DISPLAY_ENV="true")
    said = [line.split("=")[1].strip() for line in result.stderr.splitlines() if "OMP_WAIT_POLICY" in line]
    assert said
    assert set(said) == {"'PASSIVE'"}
