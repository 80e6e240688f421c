"""The shipped fake: a deterministic model that costs nothing and fails on demand in every way a provider can."""

from __future__ import annotations

import hashlib
import math
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import Field

from workbench.contracts import ModelFacts
from workbench.errors import GenerationError, InfrastructureFailure, ModelFailure
from workbench.records import Completion, Decoding, Prompt

Fault = Literal[
    "none",
    "timeout",
    "rate_limit",
    "server_error",
    "lost_connection",
    "authentication",
    "context_overflow",
    "refused",
    "empty_output",
]

_ACCEPTS = frozenset({"temperature", "top_k", "top_p", "min_p", "max_tokens", "stop", "seed", "logprobs"})
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]?")
_WORD = re.compile(r"\w+")
_QUESTION = re.compile(r"^Question:.*$", re.MULTILINE)


class Scripted:
    """Answers with the prompt's sentence that shares most words with its last line (the question).

    At temperature 0, or ``top_k`` 1, the best sentence; otherwise one of the ``top_k`` best, drawn by the seed, that share at
    least ``min_p`` of what the best shares. A word is a token. Asked for ``logprobs``, it holds Yes and No possible: Yes by the
    share of the question's words that the rest of the prompt has.
    """

    accepts = _ACCEPTS
    runs_here = True
    digest = "scripted-1"

    def __init__(
        self,
        *,
        style: Literal["chat", "text"],
        replies: dict[str, str],
        seconds: float,
        seconds_per_token: float,
        fail: Fault,
        fail_every: int,
        fail_attempts: int,
        context_tokens: int,
    ) -> None:
        self.style = style
        self._replies = replies
        self._seconds = seconds
        self._seconds_per_token = seconds_per_token
        self._fail = fail
        self._fail_every = fail_every
        self._fail_attempts = fail_attempts
        self._context_tokens = context_tokens
        self._attempts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.requests: list[tuple[Prompt, Decoding]] = []

    def generate(self, prompt: Prompt, decoding: Decoding) -> Completion:
        """One completion, or the failure that was asked for."""
        text = prompt.messages[-1].content if self.style == "chat" else prompt.text
        self.requests[:] = [(prompt, decoding)]
        started = time.perf_counter()
        fault = self._fault(text)
        if fault is not None and fault.code != "empty_output":
            raise fault
        tokens_in = sum(self.count_tokens(message.content) for message in prompt.messages)
        if tokens_in > self._context_tokens:
            raise ModelFailure(
                "context_overflow", f"the prompt has {tokens_in} tokens; the context holds {self._context_tokens}"
            )
        if self._seconds:
            time.sleep(self._seconds)
        prefill = time.perf_counter() - started
        words = [] if fault else self._words(text, decoding)
        limit = decoding.max_tokens if decoding.max_tokens is not None else len(words)
        reply = " ".join(words[:limit])
        for stop in decoding.stop:
            reply = reply.partition(stop)[0]
        tokens_out = self.count_tokens(reply)
        if self._seconds_per_token:
            time.sleep(self._seconds_per_token * tokens_out)
        return Completion(
            text=reply,
            tokens_in=tokens_in,
            tokens_cached=0,
            tokens_out=tokens_out,
            seconds_to_first_token=prefill,
            prefill_seconds=prefill,
            decode_seconds=time.perf_counter() - started - prefill,
            finish_reason="length" if len(words) > limit else "stop",
            logprobs=_yes_or_no(text, decoding.logprobs) if decoding.logprobs else None,
        )

    def stream(self, prompt: Prompt, decoding: Decoding) -> Iterator[str | Completion]:
        """The completion word by word, then whole."""
        completion = self.generate(prompt, decoding)
        words = completion.text.split(" ")
        yield from (word if number == 0 else f" {word}" for number, word in enumerate(words))
        yield completion

    def count_tokens(self, text: str) -> int:
        """Words."""
        return len(text.split())

    def close(self) -> None:
        """Nothing to free."""

    def _words(self, text: str, decoding: Decoding) -> list[str]:
        for wanted, reply in self._replies.items():
            if wanted in text:
                return reply.split()
        body, _, question = text.rstrip().rpartition("\n")
        asked = _distinct_words(question)
        sentences = _SENTENCE.findall(body) or [question]
        common = [len(asked & _distinct_words(sentence)) for sentence in sentences]
        if not decoding.temperature:
            return sentences[common.index(max(common))].split()
        ranked = sorted(range(len(sentences)), key=lambda position: -common[position])
        choices = min(decoding.top_k or len(ranked), len(ranked))
        if decoding.min_p:
            choices = sum(common[each] >= decoding.min_p * common[ranked[0]] for each in ranked[:choices])
        chosen = random.Random(f"{decoding.seed}|{text}").randrange(choices) if choices > 1 else 0  # noqa: S311 - a fake's dice
        return sentences[ranked[chosen]].split()

    def _fault(self, text: str) -> GenerationError | None:
        if self._fail == "none" or int(hashlib.sha256(text.encode()).hexdigest(), 16) % self._fail_every:
            return None
        with self._lock:
            self._attempts[text] += 1
            if self._fail_attempts and self._attempts[text] > self._fail_attempts:
                return None
        if self._fail in ("context_overflow", "refused", "empty_output"):
            return ModelFailure(self._fail, f"scripted: {self._fail.replace('_', ' ')}")
        return InfrastructureFailure(
            self._fail,
            f"scripted: {self._fail.replace('_', ' ')}",
            retry_after=0.0,
            permanent=self._fail == "authentication",
        )


def _yes_or_no(text: str, most: int) -> dict[str, float]:
    """The likeliest of the first tokens Yes and No, never quite certain."""
    marked = _QUESTION.search(text)
    question = marked[0] if marked else text.rstrip().rpartition("\n")[2]
    asked = _distinct_words(question.removeprefix("Question:"))
    shared = len(asked & _distinct_words(text.replace(question, "", 1)))
    yes = 0.02 + 0.96 * shared / max(len(asked), 1)
    candidates = sorted({"Yes": math.log(yes), "No": math.log(1 - yes)}.items(), key=lambda pair: -pair[1])
    return dict(candidates[:most])


@lru_cache(maxsize=65536)
def _distinct_words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower()))


def facts(*, style: Literal["chat", "text"] = "chat", **_: Any) -> ModelFacts:
    """What is known of the scripted model before it is built."""
    return ModelFacts(accepts=_ACCEPTS, style=style, runs_here=True, digest=Scripted.digest)


def build(
    *,
    style: Literal["chat", "text"] = "chat",
    replies: dict[str, str] | None = None,
    seconds: Annotated[float, Field(ge=0)] = 0.0,
    seconds_per_token: Annotated[float, Field(ge=0)] = 0.0,
    fail: Fault = "none",
    fail_every: Annotated[int, Field(ge=1)] = 1,
    fail_attempts: Annotated[int, Field(ge=0)] = 0,
    context_tokens: Annotated[int, Field(ge=1)] = 4096,
) -> Scripted:
    """A deterministic model for tests and dry runs: picks a sentence of its prompt; chosen latency and failures.

    ``fail_every=n`` fails about one prompt in n, ``fail_attempts=k`` lets the (k+1)-th attempt at a prompt succeed.
    """
    return Scripted(
        style=style,
        replies=replies or {},
        seconds=seconds,
        seconds_per_token=seconds_per_token,
        fail=fail,
        fail_every=fail_every,
        fail_attempts=fail_attempts,
        context_tokens=context_tokens,
    )
