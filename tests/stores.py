"""Stores filled by hand: runs with made-up but plausible answers, so that reading a run can be tested without any model."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workbench import registry
from workbench.records import (
    HARNESS,
    Answer,
    Chunk,
    Configuration,
    Failure,
    Ledger,
    OneOff,
    Passage,
    Question,
    Reading,
    ScoredAnswer,
    Span,
    StageCost,
)
from workbench.session import score
from workbench.specification import Experiment, read_experiment
from workbench.store import Store

METRICS = ("token_f1", "exact_match", "contains", "recall@5", "ndcg@10")

EXPERIMENT: dict[str, Any] = {
    "corpus": "python-reference",
    "evalset": "python-reference",
    "strategy": "grid",
    "questions": {"split": "dev", "limit": 24},
    "metrics": list(METRICS),
    "goal": {"metric": "token_f1", "margin": 0.05},
    "space": {
        "model": ["none", "embedded:smollm2-135m"],
        "prompt": ["terse", "fewshot"],
        "retriever": ["none", "bm25", "dense", {"name": "hybrid", "weight": 0.5}],
        "passages": [1, 3],
    },
}

FACTS = (
    ("Which statement leaves the innermost loop at once?", "break", "break", "The break statement"),
    ("Which exception does next() raise when nothing is left?", "StopIteration", "types", "Iterators"),
    ("What does a function return that has no return statement?", "None", "return", "The return statement"),
    ("Which keyword binds a name of the enclosing function?", "nonlocal", "nonlocal", "The nonlocal statement"),
    ("Which method is called by the built-in len?", "__len__", "sequence-methods", "Emulating containers"),
    ("Which algorithm orders the bases of a class?", "C3", "class", "Class definitions"),
    ("What is the value of an empty parenthesis pair?", "an empty tuple", "exprlists", "Expression lists"),
    ("Which statement does nothing when it is executed?", "pass", "pass", "The pass statement"),
    ("Which method makes an instance callable?", "__call__", "callable-methods", "Emulating callable objects"),
    ("What does the operator // compute?", "floor division", "binary", "Binary arithmetic operations"),
    ("Which clause of try always runs?", "finally", "try", "The try statement"),
    ("Which method is looked up to enter a with block?", "__enter__", "context-managers", "With statement managers"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A configuration and how it fares: share of correct answers, tokens, and seconds of each stage on an idle machine."""

    axes: dict[str, Any]
    quality: float
    tokens_in: int = 0
    search: float = 0.0
    embed: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0


_MODEL = {"model": "embedded:smollm2-135m", "temperature": 0}
_HYBRID = {"name": "hybrid", "weight": 0.5}
SETUPS = (
    Setup(axes={"model": "none", "retriever": "bm25"}, quality=0.34, search=0.004),
    Setup(axes={"model": "none", "retriever": "dense"}, quality=0.30, search=0.002, embed=0.02),
    Setup(axes={**_MODEL, "prompt": "terse", "retriever": "none"}, quality=0.10, tokens_in=38, prefill=0.05, decode=0.5),
    Setup(
        axes={**_MODEL, "prompt": "terse", "retriever": "bm25", "passages": 1},
        quality=0.64, tokens_in=190, search=0.004, prefill=0.3, decode=0.4,
    ),
    Setup(
        axes={**_MODEL, "prompt": "terse", "retriever": "bm25", "passages": 3},
        quality=0.66, tokens_in=470, search=0.004, prefill=0.8, decode=0.4,
    ),
    Setup(
        axes={**_MODEL, "prompt": "fewshot", "retriever": "bm25", "passages": 3},
        quality=0.62, tokens_in=640, search=0.004, prefill=0.85, decode=0.3,
    ),
    Setup(
        axes={**_MODEL, "prompt": "terse", "retriever": "dense", "passages": 3},
        quality=0.57, tokens_in=460, search=0.002, embed=0.02, prefill=0.8, decode=0.4,
    ),
    Setup(
        axes={**_MODEL, "prompt": "terse", "retriever": _HYBRID, "passages": 3},
        quality=0.67, tokens_in=480, search=0.006, embed=0.02, prefill=0.85, decode=0.4,
    ),
)  # fmt: skip


def filled_store(
    path: Path,
    *,
    name: str = "demo",
    setups: Sequence[Setup] = SETUPS,
    questions: int = 24,
    state: str = "finished",
    answered: float = 1.0,
    model_failures: int = 0,
    infrastructure_failures: int = 0,
    metered: bool = True,
    injection: str = "",
    experiment: dict[str, Any] | None = None,
) -> Store:
    """A store at ``path`` holding one more run, as a real run would have left it.

    ``answered`` is the share of answers given, configuration by configuration. Failures strike the first questions of the
    last setup. ``injection`` goes into every question, answer, passage, title and prompt, and into axes. ``metered`` false
    leaves CPU time unknown.
    """
    store = Store(str(path))
    specification = read_experiment({**(experiment or EXPERIMENT), "name": name})
    run = store.create(name, specification.model_dump(mode="json"), environment(specification))
    setups = [_injected(setup, f"{injection} {row}") for row, setup in enumerate(setups)] if injection else setups
    configurations = [Configuration(setup.axes) for setup in setups]
    asked = [_question(number, injection) for number in range(questions)]
    store.add_trials(run.id, configurations)
    store.add_questions(run.id, asked)
    metrics = {metric: registry.build("metrics", metric) for metric in METRICS}
    dice = random.Random(name)  # noqa: S311 - made-up answers, the same every time
    limit = round(answered * len(setups) * questions)
    for row, (setup, configuration) in enumerate(zip(setups, configurations, strict=True)):
        last = row == len(setups) - 1
        answers: list[ScoredAnswer] = []
        for column, question in enumerate(asked[: max(limit - row * questions, 0)]):
            answer = _answer(setup, configuration, question, column, dice, injection, metered)
            if last and column < model_failures:
                failure = Failure(
                    kind="model", code="empty_output", message=f"the model said nothing {injection}".strip()
                )
                answer = replace(answer, text="", failure=failure)
            elif last and column < model_failures + infrastructure_failures:
                failure = Failure(
                    kind="infrastructure", code="timeout", message=f"no answer within 60 s {injection}".strip()
                )
                answer = replace(answer, text="", failure=failure, ledger=Ledger(), attempts=4)
            answers.append(ScoredAnswer(answer=answer, scores=score(question, answer, metrics)))
        if answers:
            store.add_answers(run.id, answers)
        if last and infrastructure_failures:
            reason = f"{infrastructure_failures} answers lost to infrastructure failures; mend with --retry-failed"
            store.set_trial(run.id, configuration.id, "incomplete", reason)
        elif state == "finished":
            store.set_trial(run.id, configuration.id, "finished")
    store.add_one_off(run.id, _one_off("load", "embedded:smollm2-135m", 0.9, metered))
    store.add_one_off(run.id, _one_off("index", "bm25 over tokens of 128", 0.4, metered))
    if state == "finished":
        store.add_one_off(run.id, _one_off(HARNESS, "loop, scoring, storing", 2.0, metered))
    store.update(run.id, state=state, note="asked to stop" if state == "stopped" else "")
    return store


def environment(experiment: Experiment) -> dict[str, Any]:
    """The environment of a made-up machine."""
    return {
        "workbench": "0.1.0",
        "processor": "AMD EPYC",
        "vcpus": 2,
        "meter": "cpu_time",
        "coefficients": {
            "processor": "AMD EPYC Milan",
            "watts_per_busy_vcpu": [1.1, 2.2, 4.4],
            "source": "made up for tests",
            "includes": "busy vCPUs with their share of memory; idle vCPUs and cooling excluded",
        },
        "corpus": {"name": experiment.corpus, "digest": "0" * 32, "documents": len(FACTS)},
        "evalset": {"name": experiment.evalset, "digest": "1" * 32, "questions": 240},
    }


def _injected(setup: Setup, injection: str) -> Setup:
    """The setup with the text in an axis, and in its model's name where it has one."""
    model = setup.axes["model"]
    named = model if model == "none" else {"name": model, "note": injection}
    return replace(setup, axes={**setup.axes, "model": named, "chunker": injection})


def _question(number: int, injection: str) -> Question:
    text, answer, document, _ = FACTS[number % len(FACTS)]
    again = f" (in other words, {number // len(FACTS) + 1})" if number >= len(FACTS) else ""
    return Question(
        id=f"q-{number + 1:03}", question=f"{text}{again} {injection}".strip(), answers=(answer,), evidence=(document,)
    )


def _answer(
    setup: Setup,
    configuration: Configuration,
    question: Question,
    number: int,
    dice: random.Random,
    injection: str,
    metered: bool,
) -> Answer:
    fact = FACTS[number % len(FACTS)]
    closed_book = setup.axes["retriever"] == "none"
    difficulty = random.Random(question.id).random()  # noqa: S311 - the same for every setup, as real questions are
    correct = setup.quality > difficulty + dice.uniform(-0.05, 0.05)
    found = [] if closed_book else [fact, *dice.sample([each for each in FACTS if each is not fact], 2)]
    if not correct and not closed_book:
        found = [*found[1:], fact] if dice.random() < 0.5 else found
    if correct:
        text = fact[1] if dice.random() < 0.6 else f"It is {fact[1]}, as the reference says."
    else:
        text = dice.choice([each[1] for each in FACTS if each is not fact])
    passages = [
        _passage(each, rank, injection) for rank, each in enumerate(found[: setup.axes.get("passages", 1)], start=1)
    ]
    prompt = "" if setup.axes["model"] == "none" else _prompt(passages, question)
    stages = _stages(setup, dice, metered, max(len(text.split()), 1) * 2)
    return Answer(
        configuration=configuration.id,
        question=question.id,
        text=f"{text} {injection}".strip(),
        passages=tuple(passages),
        retrieved=None if closed_book else tuple(Span(each[2], 0, 0) for each in found),
        prompt=prompt,
        finish_reason="stop",
        seconds=sum(stage.reading.seconds for stage in stages),
        ledger=Ledger(stages=stages),
        reused=("prefill: 24 cached prompt tokens, 0 of them its own prefix",)
        if any(each.standalone for each in stages)
        else (),
    )


def _passage(fact: tuple[str, str, str, str], rank: int, injection: str) -> Passage:
    asked, answer, document, title = fact
    text = f"{title}. {asked.removesuffix('?')}: {answer}. This passage was made up for a test and stands for 128 tokens. {injection}"
    start = 120 * len(document)
    chunk = Chunk(
        id=f"{document}:{start}",
        document_id=document,
        start=start,
        end=start + len(text),
        text=text,
        title=f"{title} {injection}".strip(),
    )
    return Passage(chunk=chunk, score=9.5 - rank, rank=rank)


def _prompt(passages: Sequence[Passage], question: Question) -> str:
    context = "\n\n".join(f"[{passage.rank}] {passage.chunk.text}" for passage in passages)
    return f"Answer with a few words from the passages.\n\n{context}\n\nQuestion: {question.question}\nAnswer:"


def _stages(setup: Setup, dice: random.Random, metered: bool, tokens_out: int) -> tuple[StageCost, ...]:
    def reading(seconds: float, **tokens: Any) -> Reading:
        took = seconds * dice.uniform(0.85, 1.25)
        return Reading(seconds=took, cpu_seconds=took * 1.9 if metered else None, foreign_load=0.0, **tokens)

    stages = [StageCost(stage="assemble", reading=reading(0.0004))]
    if setup.embed:
        stages.append(StageCost(stage="embed", reading=reading(setup.embed)))
    if setup.search:
        stages.append(StageCost(stage="search", reading=reading(setup.search)))
    if setup.prefill:
        prefill = reading(setup.prefill, tokens_in=setup.tokens_in, tokens_cached=24)
        alone = None if dice.random() < 0.9 else replace(prefill, seconds=prefill.seconds * 1.2, tokens_cached=0)
        stages.append(StageCost(stage="prefill", reading=prefill, standalone=alone))
        stages.append(StageCost(stage="decode", reading=reading(setup.decode, tokens_out=tokens_out)))
    else:
        stages.append(StageCost(stage="select", reading=reading(0.0006, tokens_in=0, tokens_cached=0, tokens_out=0)))
    return tuple(stages)


def _one_off(work: str, what: str, seconds: float, metered: bool) -> OneOff:
    return OneOff(work=work, what=what, reading=Reading(seconds=seconds, cpu_seconds=seconds if metered else None))
