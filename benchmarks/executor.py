"""What handing a task to a Ray worker costs, against answering it in this process.

The same questions go through the same pipeline (BM25, prompt, scripted model, ledger), without scoring and storing: in this
process, and on a Ray cluster of this machine that listens on 127.0.0.1 only. First with a model that takes no time, so that
only the hand-over is left; then with one that takes ``--seconds``, one task at a time on each worker, so that nodes add up.
Answers must be the same everywhere.

    python benchmarks/executor.py
    python benchmarks/executor.py --nodes 2 --questions 500 --seconds 0.05

Bytes are what the loopback interface carried meanwhile per task: other programs' traffic is in it. The last line is the
overhead per task at a concurrency of 1.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # Ray on 127.0.0.1 and nowhere else; read when it is imported
os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent)

import psutil
import ray
from harness import make_data
from ray.cluster_utils import Cluster

from workbench import registry
from workbench.library import load_corpus, load_evalset
from workbench.meters.cpu_time import CpuTime
from workbench.pipeline import Task
from workbench.records import Configuration
from workbench.workers import PipelineFactory

_NODE = {"num_cpus": 1, "node_ip_address": "127.0.0.1"}


def main() -> None:
    """Measure, and print what was done."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="executor-") as folder:
        os.environ["WORKBENCH_CACHE"] = f"{folder}/cache"
        make_data(Path(folder), options.documents, options.questions, 7)
        corpus = load_corpus(folder)
        questions = load_evalset(folder, corpus).questions
        make = PipelineFactory(
            corpus=corpus,
            questions=tuple(questions),
            meter="cpu_time",
            ranking_depth=10,
            seed=7,
            timeout_seconds=60.0,
            retries=0,
        )
        texts = sum(len(document.text) for document in corpus.documents)
        print(
            f"{len(questions)} questions over {options.documents} documents ({texts / 1e6:.1f} MB of text); vCPUs:",
            end=" ",
        )
        print(f"{os.cpu_count()}, load before: {os.getloadavg()[0]:.1f}")
        local = _measure("local", "this process", make, questions, options)
        cluster = Cluster(initialize_head=True, head_node_args={**_NODE, "include_dashboard": False})
        nodes, overhead = 1, 0.0
        while True:
            ray.init(cluster.address, log_to_driver=False, logging_level=logging.ERROR)
            there = _measure("ray:auto", f"ray, {nodes} {'node' if nodes == 1 else 'nodes'}", make, questions, options)
            ray.shutdown()
            assert there["texts"] == local["texts"], "the same answers everywhere"
            overhead = overhead or there["seconds"] - local["seconds"]
            if nodes == options.nodes:
                break
            cluster.add_node(**_NODE)
            nodes += 1
        cluster.shutdown()
    print(f"overhead {overhead * 1e3:.2f} ms per task")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--questions", type=int, default=500, help="tasks of a measurement (default: %(default)s)")
    parser.add_argument("--documents", type=int, default=300, help="size of the corpus (default: %(default)s)")
    parser.add_argument("--nodes", type=int, default=2, help="the largest cluster (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.05, help="of the slow model (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="measurements with the fast model (default: %(default)s)")
    return parser.parse_args()


def _measure(
    executor: str, name: str, make: PipelineFactory, questions: Any, options: argparse.Namespace
) -> dict[str, Any]:
    """Seconds per task of the model that takes no time, at a concurrency of 1, and all answers; prints the rest."""
    started = time.perf_counter()
    workers = registry.build("executors", executor).start(
        make, meter=CpuTime(), record=lambda work: None, report=lambda doing: None
    )
    up = time.perf_counter() - started
    found: dict[str, Any] = {}
    parts = [f"{name}: workers up {up:.2f} s"]
    for concurrency in (1, 4):
        fast = Configuration({"model": "scripted", "concurrency": concurrency})
        started = time.perf_counter()
        workers.prepare(fast)
        if concurrency == 1:
            parts.append(f"prepared {time.perf_counter() - started:.2f} s")
        runs = [_run(workers, fast, questions) for _ in range(options.repeat)]
        seconds, carried = (statistics.median(run[part] for run in runs) for part in (0, 1))
        parts.append(f"concurrency {concurrency}: {seconds * 1e3:.2f} ms and {carried / 1e3:.1f} kB per task")
        if concurrency == 1:
            found = {"seconds": seconds, "texts": runs[0][2]}
    slow = Configuration({"model": {"name": "scripted", "seconds": options.seconds}})
    workers.prepare(slow)
    seconds, _, _ = _run(workers, slow, questions)
    parts.append(f"model of {options.seconds * 1e3:.0f} ms: {1 / seconds:.1f} answers/s")
    workers.close()
    print("; ".join(parts), flush=True)
    return found


def _run(workers: Any, configuration: Configuration, questions: Any) -> tuple[float, float, dict[str, str]]:
    """Seconds and bytes per task, and the texts by question."""
    tasks = [Task(configuration=configuration, question=question) for question in questions]
    carried, started = psutil.net_io_counters(pernic=True)["lo"].bytes_sent, time.perf_counter()
    answers = {answer.question: answer.text for answer in workers.run(tasks, configuration["concurrency"])}
    seconds = time.perf_counter() - started
    return seconds / len(tasks), (psutil.net_io_counters(pernic=True)["lo"].bytes_sent - carried) / len(tasks), answers


if __name__ == "__main__":
    main()
