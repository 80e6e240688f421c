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
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from workbench.executors.local import Local
from workbench.ledger import spent
from workbench.library import load_corpus, load_evalset
from workbench.meters.cpu_time import CpuTime
from workbench.models import embedded
from workbench.pipeline import Pipeline, Task
from workbench.records import Corpus, Prompt, Question
from workbench.space import point_configuration
from workbench.specification import Space
from workbench.weights import require

_CONTEXT_TOKENS = 4096  # of each slot, as our model has by default
_SAMPLING = {"temperature": 0, "repeat_penalty": 1.0, "min_p": 0.0, "cache_prompt": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one side did with one block of questions."""

    seconds: float
    tokens_in: int
    tokens_cached: int
    tokens_out: int

    @property
    def tokens(self) -> int:
        """Tokens read and written, those of the prefix cache included."""
        return self.tokens_in + self.tokens_out


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
    parser.add_argument("--questions", type=int, default=4, help="questions in a block (default: %(default)s)")
    parser.add_argument("--max-tokens", type=int, default=32, help="longest answer (default: %(default)s)")
    return parser.parse_args()


def _measure(corpus: Corpus, questions: Sequence[Question], concurrency: int, options: argparse.Namespace) -> float:
    """The worse of the two median ratios at one concurrency."""
    axes = {"model": f"embedded:{options.model}", "prompt": "fewshot", "retriever": "bm25", "passages": 2}
    limits = {"max_tokens": options.max_tokens, "concurrency": concurrency}
    space = {axis: [value] for axis, value in (axes | limits).items()}
    configuration = point_configuration(Space.model_validate(space))
    size = options.questions
    blocks = [questions[start : start + size] for start in range(0, (options.blocks + 1) * size, size)]
    with closing(_pipeline(corpus)) as pipeline:  # not the measured one, whose caches must not know the prompts yet
        pipeline.prepare(configuration)
        asked = [question for block in blocks for question in block]
        rendered = [pipeline.render(configuration, question.question)[0] for question in asked]
        prompts = {question.id: prompt for question, prompt in zip(asked, rendered, strict=True) if prompt is not None}
    path = str(require(options.model, "generator"))
    server = embedded._start(path, "unused", _CONTEXT_TOKENS, slots=concurrency, threads=0)
    with closing(_pipeline(corpus)) as pipeline:
        pipeline.prepare(configuration)

        def ours(block: Sequence[Question]) -> Side:
            tasks = [Task(configuration=configuration, question=question) for question in block]
            return _ours(pipeline, tasks, concurrency)

        def direct(block: Sequence[Question]) -> Side:
            return _direct(server, [prompts[question.id] for question in block], options.max_tokens, concurrency)

        pairs = []
        for number, block in enumerate(blocks):
            sides = [side(block) for side in ((direct, ours) if number % 2 else (ours, direct))]
            pairs.append(sides[::-1] if number % 2 else sides)
    return _report(concurrency, pairs[1:])  # the first warms both up


def _pipeline(corpus: Corpus) -> Pipeline:
    return Pipeline(corpus, meter=CpuTime(), record=lambda work: None, cache=None)


def _ours(pipeline: Pipeline, tasks: Sequence[Task], concurrency: int) -> Side:
    started = time.perf_counter()
    answers = list(Local().run(pipeline.answer, tasks, concurrency))
    seconds = time.perf_counter() - started
    readings = [spent(answer.ledger) for answer in answers]
    return Side(
        seconds=seconds,
        tokens_in=sum(reading.tokens_in or 0 for reading in readings),
        tokens_cached=sum(reading.tokens_cached or 0 for reading in readings),
        tokens_out=sum(reading.tokens_out or 0 for reading in readings),
    )


def _direct(server: Any, prompts: Sequence[Prompt], max_tokens: int, concurrency: int) -> Side:
    requests = [
        {"messages": [asdict(message) for message in prompt.messages], "max_tokens": max_tokens, **_SAMPLING}
        for prompt in prompts
    ]
    started = time.perf_counter()
    with ThreadPoolExecutor(concurrency) as pool:
        replies = list(pool.map(server.handle_chat_completions, requests))
    return Side(
        seconds=time.perf_counter() - started,
        tokens_in=sum(reply["usage"]["prompt_tokens"] for reply in replies),
        tokens_cached=sum(reply["timings"]["cache_n"] for reply in replies),
        tokens_out=sum(reply["usage"]["completion_tokens"] for reply in replies),
    )


def _report(concurrency: int, pairs: Sequence[Sequence[Side]]) -> float:
    print(f"concurrency {concurrency}, {len(pairs)} pairs of blocks")
    for name, side in zip(("ours", "direct"), zip(*pairs, strict=True), strict=True):
        seconds, given, cached, made = (sum(getattr(block, field.name) for block in side) for field in fields(Side))
        print(
            f"  {name:6} {made / seconds:6.1f} output tokens/s, {(given + made) / seconds:7.1f} tokens/s in all",
            end="; ",
        )
        print(f"{given} in ({cached} cached), {made} out, {seconds:.1f} s")
    output = statistics.median(
        ours.tokens_out / ours.seconds * direct.seconds / direct.tokens_out for ours, direct in pairs
    )
    total = statistics.median(ours.tokens / ours.seconds * direct.seconds / direct.tokens for ours, direct in pairs)
    print(f"  ratio {output:.3f} of output tokens/s, {total:.3f} of all tokens/s")
    return min(output, total)


if __name__ == "__main__":
    main()
