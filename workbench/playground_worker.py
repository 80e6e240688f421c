"""The playground's worker: answers questions that come as JSON lines on standard input, events as JSON lines on standard output."""

from __future__ import annotations

import json
import os
import queue
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from workbench import registry
from workbench.coefficients import coefficients, with_hosted
from workbench.errors import InputError, WorkbenchError
from workbench.hosted import of_choices
from workbench.ledger import price, standalone
from workbench.library import load_corpus, load_evalset
from workbench.pipeline import Pipeline, Task
from workbench.playground import Asked, Event, Told
from workbench.records import Answer, Configuration, Corpus, EvalSet, Question, as_json
from workbench.setup import changes_since, read_setup
from workbench.space import point_configuration
from workbench.specification import one_point
from workbench.store import Store
from workbench.views import ledger_rows
from workbench.weights import cache_folder

_EDITED = "edited.txt"


class _GivenUp(Exception):
    """Nobody waits for this answer any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setup:
    """What answers: a configuration over a corpus, the questions its examples come from, and what to know about it."""

    configuration: Configuration
    corpus: Corpus
    evalset: EvalSet | None
    seed: int
    notes: tuple[str, ...]

    @property
    def data(self) -> tuple[str, str, int]:
        """What setups must share to be answered by the same pipeline."""
        return self.corpus.digest, self.evalset.digest if self.evalset else "", self.seed


class Worker:
    """Answers with setups of runs and of files; ``tell`` hears every event, ``wanted`` says whether anybody still waits.

    Pipelines stay warm as long as the questions go to the same data.
    """

    def __init__(self, tell: Callable[[Event], None], wanted: Callable[[], bool] = lambda: True) -> None:
        self._tell = tell
        self._wanted = wanted
        self._meter = registry.build("meters", "auto")
        self._pipelines: dict[tuple[str, str, int], Pipeline] = {}
        self._at = 0

    def answer(self, question: str, setups: list[Asked], template: str | None) -> None:
        """Ask every setup in turn; what prevents one of them is told, and the next is asked."""
        found: list[tuple[int, _Setup]] = []
        with _edited(template) as prompt:
            for self._at, asked in enumerate(setups):
                with self._told(prompt):
                    self._happened("loading", "its documents")
                    found.append((self._at, _setup(asked, prompt)))
            self._drop({setup.data for _, setup in found})
            for self._at, setup in found:
                with self._told(prompt):
                    self._happened("answer", reply=self._ask(question, setup, edited=prompt is not None))

    def close(self) -> None:
        """Stop the engines."""
        self._drop(set())

    def _ask(self, question: str, setup: _Setup, *, edited: bool) -> Told:
        configuration = setup.configuration
        self._happened("loading", "its model and index")
        pipeline = self._pipeline(setup)
        pipeline.prepare(configuration)
        self._happened("loading", "")
        # The examples of a question of the evaluation set must not be that question itself: they are told apart by its text.
        answer = pipeline.answer(Task(configuration=configuration, question=Question(id="asked", question=question)))
        notes = (*setup.notes, *answer.reused)
        if edited:
            unused = configuration["model"] == "none"
            said = (
                "it has no model, so that no prompt was used" if unused else "the prompt was edited for this question"
            )
            notes = (said, *notes)
        return _reply(answer, configuration, notes)

    def _pipeline(self, setup: _Setup) -> Pipeline:
        if setup.data not in self._pipelines:
            self._pipelines[setup.data] = Pipeline(
                setup.corpus,
                meter=self._meter,
                record=lambda work: None,
                cache=cache_folder(),
                questions=setup.evalset.questions if setup.evalset else (),
                seed=setup.seed,
                retries=0,  # a second try would be heard as the same answer's text
                report=lambda doing: self._happened("loading", doing),
                hear=lambda piece: self._happened("piece", piece),
            )
        return self._pipelines[setup.data]

    def _drop(self, needed: set[tuple[str, str, int]]) -> None:
        for key in [key for key in self._pipelines if key not in needed]:
            self._pipelines.pop(key).close()

    def _happened(self, kind: Any, text: str = "", reply: Told | None = None) -> None:
        if not self._wanted():
            raise _GivenUp
        self._tell(Event(setup=self._at, kind=kind, text=text, reply=reply))

    @contextmanager
    def _told(self, prompt: Path | None) -> Iterator[None]:
        """What goes wrong inside becomes an event of the setup at hand."""
        try:
            yield
        except WorkbenchError as error:
            said = str(error) if prompt is None else str(error).replace(str(prompt), "the edited prompt")
            self._happened("problem", said)
        except (_GivenUp, BrokenPipeError):
            raise
        except Exception as error:
            traceback.print_exc()
            self._happened("problem", f"the playground made a mistake: {type(error).__name__}: {error}; report it")


def _setup(asked: Asked, prompt: Path | None) -> _Setup:
    axes: dict[str, Any]
    if asked.file:
        content = read_setup(asked.file)
        axes, corpus_name, shown = (
            dict(content["configuration"]),
            content["corpus"]["name"],
            content.get("examples_from"),
        )
    else:
        store = Store(create=False)
        record = store.get(asked.run)
        trials = {trial.configuration.id: trial.configuration for trial in store.trials(record.id)}
        store.close()
        if asked.configuration not in trials:
            raise InputError(f"run {record.name!r} has no configuration {asked.configuration!r}; choose another")
        chosen = trials[asked.configuration]
        axes, corpus_name = dict(chosen.axes), record.experiment["corpus"]
        content = {"corpus": record.environment.get("corpus", {}), "fingerprints": chosen.fingerprints}
        shown = {"evalset": record.experiment["evalset"], "seed": record.experiment["seed"]}
    if prompt is not None and axes.get("model", "none") != "none":
        axes["prompt"] = str(prompt)
        kept = {key: value for key, value in content.get("fingerprints", {}).items() if key != "prompt"}
        content = {**content, "fingerprints": kept}
    configuration = point_configuration(one_point(axes, asked.file or asked.run))
    corpus = load_corpus(corpus_name)
    if not (configuration["examples"] or configuration.is_bound):
        shown = None
    return _Setup(
        configuration=configuration,
        corpus=corpus,
        evalset=load_evalset(shown["evalset"], corpus, seed=shown["seed"]) if shown else None,
        seed=shown["seed"] if shown else 0,
        notes=changes_since(content, corpus.digest, configuration),
    )


@contextmanager
def _edited(template: str | None) -> Iterator[Path | None]:
    """The edited prompt as a file of its own, as long as it is used."""
    if template is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="workbench-") as folder:
        path = Path(folder) / _EDITED
        path.write_text(template, encoding="utf-8")
        yield path


def _reply(answer: Answer, configuration: Configuration, notes: tuple[str, ...]) -> Told:
    known = with_hosted(coefficients(), *of_choices(dict(configuration.axes)))
    alone = standalone(answer.ledger)
    failure = answer.failure
    return Told(
        label=configuration.label.replace(str(configuration["prompt"]), "edited prompt")
        if str(configuration["prompt"]).endswith(_EDITED)
        else configuration.label,
        text=answer.text,
        failure="" if failure is None else f"{failure.code.replace('_', ' ')}: {failure.message}",
        tokens_in=alone.tokens_in,
        tokens_cached=alone.tokens_cached,
        tokens_out=alone.tokens_out,
        seconds=alone.seconds if answer.ledger.stages else None,
        seconds_to_first_token=answer.seconds_to_first_token,
        joules=price(alone, known) if answer.ledger.stages else None,
        undisturbed=answer.undisturbed,
        passages=answer.passages,
        prompt=answer.prompt,
        rows=tuple(ledger_rows(answer, {"coefficients": asdict(known)})),
        notes=notes,
    )


# ---------------------------------------------------------------------------------------------------------- the pipes


def serve(incoming: IO[str], outgoing: IO[str], idle_seconds: float) -> None:
    """Answer what comes in, one question at a time, until the input ends or nothing has come for so long.

    A line that comes while an answer is under way ends that answer.
    """
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        for line in incoming:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    number = 0

    def say(message: Mapping[str, Any]) -> None:
        outgoing.write(as_json(message) + "\n")
        outgoing.flush()

    worker = Worker(lambda event: say({"ask": number, "event": event}), wanted=lines.empty)
    try:
        while True:
            try:
                line = lines.get(timeout=idle_seconds)
            except queue.Empty:
                return
            if line is None:
                return
            message = json.loads(line)
            if "ask" not in message:
                continue  # to stop what has ended by now
            number = message["ask"]
            try:
                setups = [Asked(**each) for each in message["setups"]]
                worker.answer(message["question"], setups, message["template"])
            except _GivenUp:
                continue
            say({"ask": number, "done": True})
    except BrokenPipeError:
        return
    finally:
        worker.close()


def main() -> None:
    """Serve the pipes of whoever started this process; what libraries print goes to standard error."""
    outgoing = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(sys.stdin, outgoing, idle_seconds=60 * float(sys.argv[1]))
    with suppress(OSError):
        outgoing.close()


if __name__ == "__main__":
    main()
