"""The setup file: one chosen configuration with its evidence, to be asked questions."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from workbench import registry
from workbench.coefficients import coefficients, with_hosted
from workbench.errors import InputError
from workbench.handover import FORMAT
from workbench.hosted import of_choices
from workbench.library import load_corpus, load_evalset
from workbench.pipeline import Pipeline, Task
from workbench.records import DEFAULT_AXES, Answer, Coefficients, Configuration, OneOff, Question
from workbench.space import point_configuration
from workbench.specification import one_point
from workbench.weights import cache_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a setup answers: the answer with its passages and ledger, the coefficients to price it, and what to know about it."""

    question: str
    answer: Answer
    coefficients: Coefficients
    notes: tuple[str, ...]


class Setup:
    """A setup that is loaded and warm; use as a context manager, or ``close`` it."""

    def __init__(self, path: str | Path) -> None:
        content = read_setup(path)
        self.configuration = point_configuration(one_point(content["configuration"], f"{path}"))
        corpus = load_corpus(content["corpus"]["name"])
        shown = content.get("examples_from") if self.configuration["examples"] else None
        evalset = load_evalset(shown["evalset"], corpus, seed=shown["seed"]) if shown else None
        self.notes = changes_since(content, corpus.digest, self.configuration)
        if shown and evalset and evalset.digest != shown.get("digest"):
            self.notes += (
                "the questions that worked examples are taken from have changed since this setup was chosen",
            )
        self.one_offs: list[OneOff] = []
        self._coefficients = with_hosted(coefficients(), *of_choices(dict(self.configuration.axes)))
        self._meter = registry.build("meters", "cpu_time")
        self._pipeline = Pipeline(
            corpus,
            meter=self._meter,
            record=self.one_offs.append,
            cache=cache_folder(),
            questions=evalset.questions if evalset else (),
            seed=shown["seed"] if shown else 0,
        )
        try:
            self._pipeline.prepare(self.configuration)
        except BaseException:
            self._pipeline.close()
            raise

    def ask(self, question: str) -> Reply:
        """The answer to one question."""
        if not question.strip():
            raise InputError("the question is empty; write it in quotes after the setup file")
        answer = self._pipeline.answer(
            Task(configuration=self.configuration, question=Question(id="asked", question=question))
        )
        return Reply(question=question, answer=answer, coefficients=self._coefficients, notes=self.notes)

    def close(self) -> None:
        """Stop the engine."""
        self._pipeline.close()

    def __enter__(self) -> Setup:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def ask(path: str | Path, question: str) -> Reply:
    """Answer one question with a setup file."""
    with Setup(path) as setup:
        return setup.ask(question)


def load_setup(path: str | Path) -> Any:
    """The setup as a LangChain ``Runnable``: question → mapping with ``answer``, ``passages``, ``ledger``; needs the extra ``hosted``."""
    registry.require("langchain_core", "load_setup")
    runnables = importlib.import_module("langchain_core.runnables")
    setup = Setup(path)

    def invoke(question: str) -> dict[str, Any]:
        answer = setup.ask(question).answer
        return {
            "answer": answer.text,
            "passages": [asdict(passage.chunk) for passage in answer.passages],
            "ledger": [asdict(cost) for cost in answer.ledger.stages],
            "failure": None if answer.failure is None else asdict(answer.failure),
        }

    return runnables.RunnableLambda(invoke)


def read_setup(path: str | Path) -> dict[str, Any]:
    """What a setup file says, checked; raises ``InputError``."""
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such setup file; write one with: workbench recommend RUN --out {path}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputError(f"{path}: not a readable setup file: {error}") from error
    if not isinstance(content, dict) or content.get("setup") != FORMAT:
        raise InputError(
            f"{path}: not a setup file; it must begin with `setup: {FORMAT}` as `workbench recommend RUN --out` writes it"
        )
    problems = []
    axes = content.get("configuration")
    if not isinstance(axes, dict) or not axes:
        problems.append(f"{path}: configuration must map axes to values")
    else:
        problems += [
            f"{path}: configuration.{axis} is not an axis; axes: {', '.join(DEFAULT_AXES)}"
            for axis in axes
            if axis not in DEFAULT_AXES
        ]
    corpus = content.get("corpus")
    if not isinstance(corpus, dict) or not isinstance(corpus.get("name"), str):
        problems.append(f"{path}: corpus.name must name a corpus or its path")
    if isinstance(axes, dict) and axes.get("examples"):
        shown = content.get("examples_from")
        if (
            not isinstance(shown, dict)
            or not isinstance(shown.get("evalset"), str)
            or type(shown.get("seed")) is not int
        ):
            problems.append(
                f"{path}: examples_from must name the evalset and the seed of the {axes['examples']} examples"
            )
    if problems:
        raise InputError(problems)
    return content


def changes_since(content: Mapping[str, Any], corpus_digest: str, configuration: Configuration) -> tuple[str, ...]:
    """What has changed since a setup was chosen, one sentence each."""
    notes = []
    if content["corpus"].get("digest") != corpus_digest:
        notes.append("the corpus has changed since this setup was chosen: its measured figures may no longer hold")
    recorded = content.get("fingerprints") or {}
    for part, value in configuration.fingerprints.items():
        if part in recorded and recorded[part] != value:
            notes.append(f"the {part} has changed since this setup was chosen: its measured figures may no longer hold")
    return tuple(notes)
