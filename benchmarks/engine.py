"""Whether our pipeline slows the engine down: generation through it, against the same llama.cpp server driven directly.

Questions of ``python-reference`` with BM25 passages and the ``fewshot`` prompt. *Ours* is ``Pipeline.answer``: retrieval,
packing, rendering, metering and streaming included. *Direct* is a second server with the same settings that is given the
finished prompts, without streaming and without anything else to do. Both see the same prompts in the same order, in
blocks that alternate (ours, direct, direct, ours, …), so that prefix caches are alike and drift favours neither.

    python benchmarks/engine.py
    python benchmarks/engine.py --blocks 2 --concurrency 1

The ratio of a concurrency is the median over its blocks of our tokens per second to those driven directly, for output
and for all tokens; the last line is the worst of them. 1 is no loss; the project promises 0.9.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import workbench  # noqa: F401 - before any OpenMP library: it sets how their threads wait
from workbench.contracts import Meter
from workbench.executors.local import Local
from workbench.library import load_corpus, load_evalset
from workbench.meters.cpu_time import CpuTime
from workbench.models import embedded
from workbench.pipeline import Pipeline, Task
from workbench.records import Answer, Configuration, Corpus, Prompt, Question
from workbench.space import point_configuration
from workbench.specification import Space
from workbench.weights import require

_CONTEXT_TOKENS = 4096  # of each slot, as our model has by default
_SAMPLING = {"temperature": 0, "repeat_penalty": 1.0, "min_p": 0.0, "cache_prompt": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What one side did with one block of questions."""

    seconds: float
    tokens_in: int
    tokens_cached: int
    tokens_out: int

    @property
    def rates(self) -> tuple[float, float]:
        """Output tokens per second and all tokens per second."""
        return self.tokens_out / self.seconds, (self.tokens_in + self.tokens_out) / self.seconds


def main() -> None:
    """Measure every concurrency, and print rates and ratios."""
    options = _options()
    corpus = load_corpus("python-reference")
    questions = load_evalset("python-reference", corpus).questions
    ratios = [_measure(corpus, questions, concurrency, options) for concurrency in options.concurrency]
    print(f"ratio {min(ratios):.3f}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="smollm2-135m", help="an embedded model (default: %(default)s)")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 4], help="answers at once (default: 1 4)")
    parser.add_argument("--blocks", type=int, default=6, help="pairs of blocks (default: %(default)s)")
    parser.add_argument("--questions", type=int, default=8, help="questions in a block (default: %(default)s)")
    parser.add_argument("--max-tokens", type=int, default=32, help="longest answer (default: %(default)s)")
    return parser.parse_args()


def _measure(corpus: Corpus, questions: Sequence[Question], concurrency: int, options: argparse.Namespace) -> float:
    """The worse of the two median ratios at one concurrency."""
    space = Space.model_validate(
        {
            "model": f"embedded:{options.model}",
            "prompt": "fewshot",
            "retriever": "bm25",
            "passages": 2,
            "max_tokens": options.max_tokens,
            "concurrency": concurrency,
        }
    )
    configuration = point_configuration(space)
    blocks = [questions[start : start + options.questions] for start in range(0, len(questions), options.questions)]
    warm_up, *blocks = blocks[: options.blocks + 1]
    prompts = _prompts(corpus, configuration, questions)
    pipeline = _pipeline(corpus, configuration)
    direct = embedded._start(str(require(options.model, "generator")), "", _CONTEXT_TOKENS, concurrency, 0)

    def ours(block: Sequence[Question]) -> Block:
        tasks = [Task(configuration=configuration, question=question) for question in block]
        return _ours(lambda: list(Local().run(pipeline.answer, tasks, concurrency)))

    def theirs(block: Sequence[Question]) -> Block:
        requests = [
            {"messages": _messages(prompts[question.id]), "max_tokens": options.max_tokens, **_SAMPLING} for question in block
        ]
        return _direct(direct.handle_chat_completions, requests, concurrency)

    try:
        ours(warm_up), theirs(warm_up)
        pairs = []
        for number, block in enumerate(blocks):
            if number % 2:
                second = theirs(block)
                pairs.append((ours(block), second))
            else:
                first = ours(block)
                pairs.append((first, theirs(block)))
    finally:
        pipeline.close()
    return _report(concurrency, pairs)
