"""What the metrics that ask a model share: the prompt as a text file, the call, and reading the grade in the reply."""

from __future__ import annotations

import atexit
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from workbench import registry
from workbench.booking import stage
from workbench.contracts import Model
from workbench.errors import GenerationError, InfrastructureFailure, InputError
from workbench.records import Answer, Completion, Decoding, Message, PluginChoice, Prompt, Score

_PLACES = ("question", "accepted", "answer", "passages")
_PLACE = re.compile(rf"\{{({'|'.join(_PLACES)})\}}")
_LONGEST_PAUSE = 30.0  # seconds
_LONGEST_REPLY = 256  # tokens; models that reason before they grade need some
_MOST_GRADES = 16384  # that are kept: configurations often give the same answer

_THOUGHT = re.compile(r"<think>.*?(?:</think>|$)", re.DOTALL)
_SCALE = re.compile(r"\b1\s*(?:-|–|to)\s*5\b|(?<=[1-5])\s*(?:/|out of)\s*5\b", re.IGNORECASE)
_NAMED = re.compile(
    r"\b(?:grade|score|rating)\b\W*(?:is\b|of\b)?\W*(\d+(?:\.\d+)?)(?!\s*/|\s*out of|\d)", re.IGNORECASE
)
_FIRST = re.compile(r"\W*([1-5](?:\.\d+)?)(?![\w/%])")
_LISTED = re.compile(r"^\W*\d+[.)] ", re.MULTILINE)
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w])")
_YES_NO = re.compile(r"\b(yes|no)\b", re.IGNORECASE)

_loaded: dict[str, Model] = {}
_lock = threading.Lock()


def load(metric: str, choice: PluginChoice) -> Model:
    """The model of a choice; two metrics that name the same one get the same."""
    if not choice:
        raise InputError(
            f'{metric}: model is {choice!r}; expected the model that judges, such as {{name: {metric}, model: "openai:gpt-4.1-mini"}}'
        )
    key = json.dumps(choice, sort_keys=True)
    with _lock:
        if key not in _loaded:
            _loaded[key] = registry.build("models", choice)
            atexit.register(_loaded[key].close)  # metrics live as long as the process
        return _loaded[key]


def template(metric: str, path: str, shipped: Path) -> str:
    """The text of a judge's prompt: the user's file, or the one that ships."""
    try:
        text = (Path(path) if path else shipped).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{metric}: prompt is {path!r}; expected the path of a UTF-8 text file ({error})") from error
    if "{answer}" not in text:
        places = ", ".join(f"{{{place}}}" for place in _PLACES)
        raise InputError(f"{metric}: prompt is {path!r}; expected a text with {{answer}} in it (it may hold {places})")
    return text.strip()


class Judge:
    """Asks a model for a grade from 1 to 5, or yes or no; the same prompt is asked once.

    Its calls are booked to the stage ``judge``: the overhead of evaluating, never the cost of an answer.
    """

    def __init__(
        self, metric: str, model: Model, text: str, *, retries: int = 2, sleep: Callable[[float], None] = time.sleep
    ):
        self._metric = metric
        self._model = model
        self.prompt = text
        self._retries = retries
        self._sleep = sleep
        self._grades: dict[str, Score] = {}

    def grade(self, **places: str) -> Score:
        """From 0 to 1; ``None`` with the reason where the model fails or its reply holds no grade."""
        text = _fill(self.prompt, places)
        if text not in self._grades:
            score = self._ask(text)
            if score.value is None:
                return score
            if len(self._grades) >= _MOST_GRADES:
                self._grades.clear()
            self._grades[text] = score
        return self._grades[text]

    def _ask(self, text: str) -> Score:
        try:
            completion = self._generate(Prompt(messages=(Message(role="user", content=text),), cue="Grade:"))
        except GenerationError as error:
            return Score(metric=self._metric, value=None, reason=f"the judge failed: {error.code}")
        value = read_grade(completion.text)
        reply = " ".join(completion.text.split())[:80]
        if value is None:
            return Score(metric=self._metric, value=None, reason=f"no grade in the judge's reply: {reply!r}")
        return Score(metric=self._metric, value=value, reason=reply)

    def _generate(self, prompt: Prompt) -> Completion:
        decoding = Decoding(temperature=0 if "temperature" in self._model.accepts else None, max_tokens=_LONGEST_REPLY)
        attempt = 0
        while True:
            try:
                with stage("judge") as window:
                    return window.generate(self._model, prompt, decoding)
            except InfrastructureFailure as failure:
                if failure.permanent or attempt == self._retries:
                    raise
                pause = failure.retry_after if failure.retry_after is not None else 2.0**attempt
            self._sleep(min(pause, _LONGEST_PAUSE))
            attempt += 1


def read_grade(reply: str) -> float | None:
    """The grade in a reply, from 0 to 1: 1 to 5, or yes or no; ``None`` where there is none, or more than one."""
    text = _THOUGHT.sub("", reply)
    plain = _SCALE.sub("", text)
    said = _NAMED.findall(plain)
    if not said and len(_LISTED.findall(plain)) < 2 and (first := _FIRST.match(plain)):
        said = [first[1]]
    numbers = {float(number) for number in said or _NUMBER.findall(plain)}
    if numbers:
        grade = numbers.pop()
        return (grade - 1) / 4 if not numbers and 1 <= grade <= 5 else None
    verdict = {word.lower() for word in _YES_NO.findall(text)}
    return float(verdict == {"yes"}) if len(verdict) == 1 else None


def numbered(answer: Answer) -> str:
    """The passages as the answer's prompt numbers them."""
    return "\n".join(f"[{number}] {passage.chunk.text}" for number, passage in enumerate(answer.passages, 1))


def _fill(text: str, places: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda match: places.get(match[1], match[0]), text)
