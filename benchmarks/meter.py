"""What metering an answer costs: clocks and counters read and the ledger's readings made, around stages that do nothing.

    python benchmarks/meter.py

Every meter in turn, around the stages assemble, search and generate as the pipeline opens them: ``cpu_time``; ``rapl``
over a folder of counters like a machine's with two packages and their memory (reading a real counter takes a little
longer than reading a file); ``gpu`` over the shipped fake of NVIDIA's library, which answers at once; ``server_process``
over a process of ours; and ``auto`` over the counters and the process. A source is not asked again before it can say
anything new, which takes a pause after an answer, as answers have: the second column asks every source every time.

Prints microseconds per answer and what share of an answer of 1 s that is; the line before the last is the worst meter's
share of 1 s, the last one ``cpu_time``'s share of an answer of 5 ms, in percent.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from workbench import registry
from workbench.booking import Recorder, stage
from workbench.contracts import Meter
from workbench.meters import gpu
from workbench.meters._fake_nvml import FakeGpu, FakeNvml
from workbench.meters._windows import Windows
from workbench.meters.cpu_time import CpuTime

_ZONES = {
    "intel-rapl:0": "package-0",
    "intel-rapl:0/intel-rapl:0:0": "dram",
    "intel-rapl:1": "package-1",
    "intel-rapl:1/intel-rapl:1:0": "dram",
}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--answers", type=int, default=5000, help="answers in a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=11, help="rounds; the fastest counts (default: %(default)s)")
    options = parser.parse_args()
    bare = min(_seconds(_bare, options.answers) for _ in range(options.rounds))
    costs: dict[str, tuple[float, float]] = {}
    with _meters() as meters:
        for name, meter in meters.items():
            few = options.answers if name == "cpu_time" else max(options.answers // 20, 1)
            costs[name] = (_cost(meter, options.rounds, few, bare / options.answers), _asked(meter, few))
    for name, (usual, each) in costs.items():
        print(f"{name:15} {usual * 1e6:8.1f} µs per answer, {each * 1e6:8.1f} µs asking every time: {each:.4%} of 1 s")
    worst = max(costs, key=lambda name: costs[name][1])
    print(f"{costs[worst][1]:.3%} of an answer of 1 s ({worst})")
    print(f"{costs['cpu_time'][0] / 0.005:.2%} of an answer of 5 ms")


@contextmanager
def _meters() -> Iterator[dict[str, Meter]]:
    idle = [sys.executable, "-S", "-c", "import sys; sys.stdin.read()"]
    with (
        tempfile.TemporaryDirectory(prefix="powercap-") as folder,
        subprocess.Popen(idle, stdin=subprocess.PIPE) as server,
    ):
        for zone, name in _ZONES.items():
            path = Path(folder) / zone
            path.mkdir()
            for file, text in (("name", name), ("energy_uj", "123456789012"), ("max_energy_range_uj", "262143328850")):
                (path / file).write_text(text)
        nvml = FakeNvml([FakeGpu(millijoules=[123_456])])
        files = {"root": folder, "idle_seconds": 0}
        yield {
            "cpu_time": CpuTime(),
            "rapl": registry.build("meters", {"name": "rapl", **files}),
            "gpu": Windows("gpu", gpu.sources(nvml)[0]),
            "server_process": registry.build("meters", {"name": "server_process", "pid": server.pid}),
            "auto": registry.build("meters", {"name": "auto", "server_pid": server.pid, **files}),
        }
        server.kill()


def _cost(meter: Meter, rounds: int, answers: int, bare: float) -> float:
    return min(_seconds(lambda: _metered(meter), answers) for _ in range(rounds)) / answers - bare


def _asked(meter: Meter, answers: int) -> float:
    """Seconds per answer where every source is asked at every start and stop."""
    if isinstance(meter, Windows):
        for watched in meter._watched:
            watched.source.period_seconds = 0.0
    return _seconds(lambda: _metered(meter), answers) / answers


def _seconds(work: Callable[[], object], answers: int) -> float:
    started = time.perf_counter()
    for _ in range(answers):
        work()
    return time.perf_counter() - started


def _metered(meter: Meter) -> None:
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
