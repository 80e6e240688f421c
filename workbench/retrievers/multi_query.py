"""Search with several wordings of a question that a model finds."""

from __future__ import annotations

import re

from workbench.booking import stage
from workbench.contracts import Model, Retriever, Sources
from workbench.errors import InputError
from workbench.records import PluginChoice
from workbench.retrievers._ranking import CONSTANT, Ranking, fuse
from workbench.retrievers._rewriting import check_positive, rewrite

needs: frozenset[str] = frozenset({"chunks", "embedder", "index", "model", "passages"})
"""What this retriever depends on."""

_INSTRUCTION = "Write the question in {count} other ways, with other words but the same meaning, one a line."
_MARK = re.compile(r"^\s*(?:[-*•–]|\(?\d+[.):]|question\s*\d*:)\s*", re.IGNORECASE)


def build(
    sources: Sources,
    *,
    retriever: PluginChoice = "dense",
    model: PluginChoice | None = None,
    count: int = 3,
    max_tokens: int = 96,
    constant: int = CONSTANT,
    depth: int = 50,
) -> MultiQuery:
    """Let the model put the question in count other ways, search with all, fuse by reciprocal ranks; charged as rewrite.

    ``retriever`` is what searches, ``model`` who writes (default: the configuration's own).
    """
    check_positive("multi_query", count=count, max_tokens=max_tokens, depth=depth)
    if constant < 0:
        raise InputError(f"multi_query: constant is {constant}; expected 0 or more")
    searcher = sources.retriever(retriever)
    return MultiQuery(searcher, sources.model(model), count, max_tokens, constant, depth)


class MultiQuery:
    """Asks the model, then another retriever for every wording, the question's own first."""

    def __init__(
        self, retriever: Retriever, model: Model, count: int, max_tokens: int, constant: int, depth: int
    ) -> None:
        self._retriever = retriever
        self._model = model
        self._count = count
        self._max_tokens = max_tokens
        self._constant = constant
        self._depth = depth

    def search(self, question: str) -> Ranking:
        """What any wording finds, best first; the question alone where the model wrote nothing of use."""
        instruction = _INSTRUCTION.format(count=self._count)
        written = rewrite(self._model, instruction, question, cue="Other ways:", max_tokens=self._max_tokens)
        asked = list(dict.fromkeys([question, *_lines(written)]))[: self._count + 1]
        rankings = [self._retriever.search(each) for each in asked]
        with stage("search"):
            return fuse(rankings, [1.0] * len(rankings), self._constant, self._depth)


def _lines(text: str) -> list[str]:
    """The lines of a text without the marks of a list, those without a word left out."""
    lines = (_MARK.sub("", line).strip() for line in text.splitlines())
    return [line for line in lines if re.search(r"\w", line)]
