"""The playground's side of the page: one question to up to three setups, answered in turn by a worker process.

The worker is ``python -m workbench.playground_worker``: it reads one JSON line for each question and writes one for each
thing that happens, over pipes and nothing else. It ends when nobody holds the other end, or after some idle minutes.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import TypeAdapter, ValidationError

from workbench.errors import InputError, MachineError
from workbench.records import Energy, Passage
from workbench.store import default_url
from workbench.texts import NOT_MEASURED, significant

MOST_SETUPS = 3
LONGEST_QUESTION = 4000  # characters
_SECONDS_TO_END = 5.0
_ERROR_BYTES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who is asked: a configuration of a run, or a setup file."""

    run: str = ""
    configuration: str = ""
    file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to one setup: ``loading`` (``text`` says what), a ``piece`` of its answer, its ``answer``, or
    the ``problem`` that prevented it, in sentences."""

    setup: int
    kind: Literal["loading", "piece", "answer", "problem"]
    text: str = ""
    reply: Told | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An answer with what it took as if it had run alone; ``None`` was not measured.

    ``seconds_to_first_token`` counts from the call of the model; ``rows`` are the ledger's, ready for a table. ``failure``
    is empty where there is none, ``notes`` say what stood in for what, and what has changed since the setup was chosen.
    """

    label: str
    text: str
    failure: str
    tokens_in: int | None
    tokens_cached: int | None
    tokens_out: int | None
    seconds: float | None
    seconds_to_first_token: float | None
    joules: Energy | None
    undisturbed: bool
    passages: tuple[Passage, ...]
    prompt: str
    rows: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]


def setup_files() -> list[str]:
    """Setup files of the current folder and of its ``setups``, as ``workbench recommend`` writes them."""
    found = []
    for path in sorted([*Path().glob("*.yaml"), *Path("setups").glob("*.yaml")]):
        with suppress(OSError), path.open("rb") as file:
            if file.read(6) == b"setup:":
                found.append(str(path))
    return found


def figures(told: Told) -> list[tuple[str, str, str]]:
    """What an answer took as (name, value, how it is known), in the order people ask for it."""
    counts = (told.tokens_in, told.tokens_out)
    cached = f"; {told.tokens_cached:,} of the prompt's were cached" if told.tokens_cached else ""
    energy = told.joules
    disturbed = "" if told.undisturbed else "; other processes kept the machine busy, so it is disturbed"
    rebuilt = any(note.startswith("prefill") for note in told.notes)
    kept = "; part of the prompt was in the model's cache from before, so that alone it takes longer" if rebuilt else ""
    first = NOT_MEASURED if told.seconds_to_first_token is None else f"{significant(told.seconds_to_first_token)} s"
    return [
        (
            "Tokens",
            NOT_MEASURED if None in counts else f"{told.tokens_in:,} in, {told.tokens_out:,} out",
            f"Of the prompt and of the answer, as the model counts them{cached}.",
        ),
        (
            "First token after",
            "no model" if not told.prompt and counts == (0, 0) else first,
            f"From the call of the model on, as it ran{kept}{disturbed}.",
        ),
        (
            "Whole answer",
            NOT_MEASURED if told.seconds is None else f"{significant(told.seconds)} s",
            f"Every stage, as if the answer had run alone{disturbed}.",
        ),
        (
            "Energy",
            NOT_MEASURED
            if energy is None
            else f"{significant(energy.central)} J ({significant(energy.low)}–{significant(energy.high)})",
            "Nothing that counts energy saw all of its work."
            if energy is None
            else f"Estimated from {energy.source.replace('_', ' ')}, as if the answer had run alone: {energy.includes}."
            if energy.source != "counter"
            else f"From energy counters: {energy.includes}.",
        ),
    ]


_EVENT: TypeAdapter[Event] = TypeAdapter(Event)


class Playground:
    """A worker process that answers; started with the first question, and anew after it has ended.

    ``close`` ends it, as does forgetting the object. One question at a time: another one ends what is under way.
    """

    def __init__(self, idle_minutes: float = 10.0) -> None:
        self._idle_minutes = idle_minutes
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[bytes] | None = None
        self._end: weakref.finalize[..., Any] | None = None

    def ask(self, question: str, setups: Sequence[Asked], *, template: str | None = None) -> Iterator[Event]:
        """What happens, as it happens, until every setup has answered or could not.

        ``template`` is the text of a prompt that stands in for the setups' own this once. Raises ``InputError`` for a
        question or a choice that cannot be asked, ``MachineError`` where the worker ended by itself.
        """
        problems = []
        if not question.strip():
            problems.append("the question is empty; write one")
        if len(question) > LONGEST_QUESTION:
            problems.append(f"the question has {len(question):,} characters; at most {LONGEST_QUESTION:,} are asked")
        if not 1 <= len(setups) <= MOST_SETUPS:
            problems.append(f"{len(setups)} setups are chosen; choose from 1 to {MOST_SETUPS}")
        if problems:
            raise InputError(problems)
        process = self._running()
        number = next(self._numbers)
        wanted = [{"run": each.run, "configuration": each.configuration, "file": each.file} for each in setups]
        self._send(process, {"ask": number, "question": question.strip(), "setups": wanted, "template": template})
        return self._events(process, number)

    def close(self) -> None:
        """End the worker."""
        if self._end is not None:
            self._end()
        self._process = None

    @property
    def process(self) -> int | None:
        """The id of the worker's process, where there is one."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    # -------------------------------------------------------------------------------------------------------- pieces

    def _running(self) -> subprocess.Popen[str]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - read when the process has ended without a word
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "workbench.playground_worker", str(self._idle_minutes)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                encoding="utf-8",
                env={**os.environ, "WORKBENCH_STORE": default_url(), "PYTHONPATH": with_ours()},
                start_new_session=True,
            )
        except OSError as error:
            raise MachineError(f"the playground's process cannot be started: {error.strerror or error}") from error
        self._end = weakref.finalize(self, _ended, self._process)
        return self._process

    def _send(self, process: subprocess.Popen[str], message: Mapping[str, Any]) -> None:
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()
        except (OSError, ValueError) as error:
            raise self._gone(process) from error

    def _events(self, process: subprocess.Popen[str], number: int) -> Iterator[Event]:
        assert process.stdout is not None
        finished = False
        try:
            for line in process.stdout:
                try:
                    message = json.loads(line)
                    if message["ask"] != number:
                        continue  # left over from a question that was given up
                    if message.get("done"):
                        finished = True
                        return
                    event = _EVENT.validate_python(message["event"])
                except (ValueError, KeyError, TypeError, ValidationError) as error:
                    raise MachineError(
                        "the playground's process said something that cannot be read; ask again"
                    ) from error
                yield event
            finished = True
            raise self._gone(process)
        finally:
            if not finished and process.poll() is None:
                with suppress(MachineError):
                    self._send(process, {"stop": number})

    def _gone(self, process: subprocess.Popen[str]) -> MachineError:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_SECONDS_TO_END)
        last = ""
        if self._errors is not None and not self._errors.closed:
            size = self._errors.seek(0, os.SEEK_END)
            self._errors.seek(max(size - _ERROR_BYTES, 0))
            lines = self._errors.read().decode(errors="replace").split("\n")
            last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        self.close()
        said = f"; its last words: {last[:300]}" if last else ""
        return MachineError(
            f"the playground's process ended (exit code {process.returncode}){said}; ask again to start it anew"
        )


def with_ours() -> str:
    """The path of modules, with where this package lies: a checkout need not be installed."""
    parts = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    return os.pathsep.join(filter(None, parts))


def _ended(process: subprocess.Popen[str]) -> None:
    """Close the pipes, which ends the worker; one that does not end is made to."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError, ValueError):
                pipe.close()
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
