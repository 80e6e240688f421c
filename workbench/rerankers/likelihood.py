"""Reranking by what a language model holds likely."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from workbench.booking import stage
from workbench.contracts import Model, Tools
from workbench.errors import InputError, ModelFailure
from workbench.records import Decoding, Message, Passage, PluginChoice, Prompt
from workbench.rerankers._scoring import ranked

needs: frozenset[str] = frozenset({"model"})
"""What this reranker depends on."""

_INSTRUCTION = "Does the passage answer the question? Answer with one word, Yes or No."


def build(tools: Tools, *, model: PluginChoice | None = None, candidates: int = 20) -> Likelihood:
    """Rank by the probability with which a language model says Yes, not No, when asked whether the passage answers.

    Every passage is one call of one token, charged as stage rerank. ``model`` is who is asked (default: the
    configuration's own); it must give the probabilities of its first token, of which ``candidates`` are looked at.
    """
    if candidates < 2:
        raise InputError(f"likelihood: candidates is {candidates}; expected at least 2, for Yes and No")
    asked = tools.model(model)
    if "logprobs" not in asked.accepts:
        raise InputError(
            f"likelihood: the model {asked.digest} gives no probabilities of its tokens; name one that does with the "
            "parameter model (embedded:…, openai:…)"
        )
    return Likelihood(asked, candidates)


class Likelihood:
    """Asks about one passage at a time (pointwise), the question first so that an engine's prefix cache holds it."""

    def __init__(self, model: Model, candidates: int) -> None:
        self._model = model
        temperature = 0 if "temperature" in model.accepts else None
        self._decoding = Decoding(temperature=temperature, max_tokens=1, logprobs=candidates)

    def rerank(self, question: str, passages: Sequence[Passage]) -> list[Passage]:
        """The passages by descending probability of Yes against No, which is their new score."""
        return ranked([(passage, self._probability(question, passage)) for passage in passages])

    def _probability(self, question: str, passage: Passage) -> float:
        content = f"{_INSTRUCTION}\n\nQuestion: {question}\n\nPassage: {passage.chunk.text}"
        prompt = Prompt(messages=(Message(role="user", content=content),), cue="Answer:")
        with stage("rerank") as window:
            completion = window.generate(self._model, prompt, self._decoding)
        if completion.logprobs is None:
            raise ModelFailure("no_logprobs", f"{self._model.digest} gave no probabilities of its first token")
        return yes_share(completion.logprobs)


def yes_share(logprobs: Mapping[str, float]) -> float:
    """The probability of Yes among Yes and No, in any spelling; a half where neither is among the candidates."""
    yes, no = (
        sum(math.exp(value) for token, value in logprobs.items() if token.strip().casefold() == word)
        for word in ("yes", "no")
    )
    return yes / (yes + no) if yes + no > 0 else 0.5
