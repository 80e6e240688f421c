"""What doing work once saves: a sweep of 24 configurations through one pipeline, against each of them through its own.

Retrievers × chunk sizes × prompts × six settings of the sampler, an embedded model, questions of ``python-reference``.
*Shared* asks them in the order of a run (``ordering.in_blocks``) through one pipeline; *alone* gives every configuration
a fresh one: its engine, its index, its searches and every prompt read anew, nothing from a cache. Both count loading,
warming, chunking, embedding and indexing, apart from answering. Joules are CPU-seconds × watts, so that their ratio is that of
CPU-seconds.

    python benchmarks/sharing.py
    python benchmarks/sharing.py --questions 3 --documents 40 --retrievers bm25

*Law* compares each configuration's standalone cost in the sweep with what it took alone: the ratio over all
configurations with a bootstrap interval over questions, and the furthest single one. The last line is the ratio of
joules, alone to shared; the project promises 3.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import workbench  # before torch: it says how OpenMP's threads wait

# isort: split
import numpy as np

from workbench.coefficients import coefficients
from workbench.ledger import add, price, spent, standalone
from workbench.meters.cpu_time import CpuTime
from workbench.ordering import in_blocks
from workbench.pipeline import Pipeline, Task
from workbench.records import Answer, Configuration, Corpus, OneOff, Question, Reading
from workbench.stats import paired_ratio

_SAMPLERS: tuple[dict[str, Any], ...] = (
    {"temperature": 0},
    {"temperature": 0.3},
    {"temperature": 0.7},
    {"temperature": 1.0},
    {"temperature": 0.7, "top_p": 0.9},
    {"temperature": 1.0, "min_p": 0.1},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one side did: its answers by configuration and question, its one-off work, its wall time."""

    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    one_offs: list[OneOff] = field(default_factory=list)
    seconds: float = 0.0

    def work(self) -> dict[str, Reading]:
        """Kind of work → what all of it took."""
        found: defaultdict[str, list[Reading]] = defaultdict(list)
        for answer in self.answers.values():
            found["answering"].append(spent(answer.ledger))
        for one_off in self.one_offs:
            found[one_off.work].append(one_off.reading)
        return {work: add(readings) for work, readings in found.items()}


def main() -> None:
    """Measure both sides, and print what they took."""
    options = _options()
    corpus = workbench.load_corpus("python-reference")
    questions = workbench.load_evalset("python-reference", corpus).questions[: options.questions]
    corpus = replace(corpus, documents=corpus.documents[: options.documents])
    configurations = _configurations(options)
    print(f"{len(configurations)} configurations × {len(questions)} questions, {len(corpus.documents)} documents")
    shared = _sweep(corpus, questions, configurations)
    print(f"shared: {_told(shared)}", flush=True)
    parts = [_sweep(corpus, questions, [configuration]) for configuration in configurations]
    alone = Side(
        answers={key: answer for part in parts for key, answer in part.answers.items()},
        one_offs=[work for part in parts for work in part.one_offs],
        seconds=sum(part.seconds for part in parts),
    )
    print(f"alone: {_told(alone)}")
    _print_law(shared, alone, configurations, questions)
    answering = _joules([alone.work()["answering"]]) / _joules([shared.work()["answering"]])
    print(f"answering alone: {answering:.2f} times the joules; wall time {alone.seconds / shared.seconds:.2f} times")
    print(f"ratio {_joules(alone.work().values()) / _joules(shared.work().values()):.2f}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="embedded:smollm2-135m", help="default: %(default)s")
    parser.add_argument("--questions", type=int, default=8, help="asked of each configuration (default: %(default)s)")
    parser.add_argument("--documents", type=int, default=100, help="the first ones are searched (default: %(default)s)")
    parser.add_argument("--retrievers", nargs="+", default=["bm25", "dense"], help="default: bm25 dense")
    parser.add_argument("--chunk-tokens", type=int, nargs="+", default=[128, 256], help="default: 128 256")
    parser.add_argument("--prompts", nargs="+", default=["terse"], help="default: terse")
    parser.add_argument("--passages", type=int, default=3, help="in a prompt (default: %(default)s)")
    parser.add_argument("--max-tokens", type=int, default=16, help="longest answer (default: %(default)s)")
    return parser.parse_args()


def _configurations(options: argparse.Namespace) -> list[Configuration]:
    fixed = {"model": options.model, "passages": options.passages, "max_tokens": options.max_tokens}
    every = itertools.product(options.retrievers, options.chunk_tokens, options.prompts, _SAMPLERS)
    return [
        Configuration({**fixed, "retriever": retriever, "chunk_tokens": size, "prompt": prompt, **sampler})
        for retriever, size, prompt, sampler in every
    ]


def _sweep(corpus: Corpus, questions: Sequence[Question], configurations: Sequence[Configuration]) -> Side:
    """Every configuration and question through one new pipeline, in the order of a run."""
    answers: dict[tuple[str, str], Answer] = {}
    one_offs: list[OneOff] = []
    cells = itertools.product(range(len(configurations)), range(len(questions)))
    started = time.perf_counter()
    with closing(Pipeline(corpus, meter=CpuTime(), record=one_offs.append, cache=None)) as pipeline:
        for block in in_blocks(configurations, cells, reverse=False):
            for row in dict.fromkeys(row for row, _ in block):
                pipeline.prepare(configurations[row])
            for row, column in block:
                answer = pipeline.answer(Task(configuration=configurations[row], question=questions[column]))
                answers[answer.configuration, answer.question] = answer
    return Side(answers=answers, one_offs=one_offs, seconds=time.perf_counter() - started)


def _joules(readings: Iterable[Reading]) -> float:
    energy = price(add(readings), coefficients())
    if energy is None:
        raise SystemExit("CPU time was not measured; nothing to compare")
    return energy.central


def _told(side: Side) -> str:
    work = side.work()
    failed = sum(answer.failure is not None for answer in side.answers.values())
    parts = ", ".join(f"{name} {_joules([reading]):.0f} J" for name, reading in work.items())
    return f"{_joules(work.values()):.0f} J ({parts}) in {side.seconds:.0f} s; {failed} answers failed"


def _print_law(
    shared: Side, alone: Side, configurations: Sequence[Configuration], questions: Sequence[Question]
) -> None:
    """Standalone cost in the sweep against what the same configuration took alone; tokens must not differ at all."""

    def costs(side: Side) -> Any:
        readings = [[standalone(side.answers[row.id, each.id].ledger) for each in questions] for row in configurations]
        return np.array([[reading.cpu_seconds for reading in row] for row in readings]), [
            [(reading.tokens_in, reading.tokens_cached, reading.tokens_out) for reading in row] for row in readings
        ]

    (in_sweep, tokens_in_sweep), (by_itself, tokens_by_itself) = costs(shared), costs(alone)
    differing = sum(
        one != other
        for row, lonely in zip(tokens_in_sweep, tokens_by_itself, strict=True)
        for one, other in zip(row, lonely, strict=True)
    )
    print(f"law: tokens differ in {differing} of {in_sweep.size} answers", end="; ")
    found = paired_ratio(in_sweep.mean(axis=0), by_itself.mean(axis=0), 0.95)
    each = in_sweep.mean(axis=1) / by_itself.mean(axis=1)
    if found is not None:
        print(f"standalone joules in the sweep to alone {found.mean:.3f} ({found.low:.3f}–{found.high:.3f})", end=", ")
    print(f"of single configurations {each.min():.2f}–{each.max():.2f}")


if __name__ == "__main__":
    main()
