"""Search with an answer that a model makes up, instead of with the question."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.contracts import Model, Retriever, Sources
from workbench.records import Passage, PluginChoice
from workbench.retrievers._rewriting import check_positive, rewrite

needs: frozenset[str] = frozenset({"chunks", "embedder", "index", "model", "passages"})
"""What this retriever depends on."""

_INSTRUCTION = "Write a short passage that answers the question, as it could stand in a reference text."


def build(
    sources: Sources,
    *,
    retriever: PluginChoice = "dense",
    model: PluginChoice | None = None,
    max_tokens: int = 64,
    keep_question: bool = False,
) -> Hyde:
    """Let the model write a hypothetical answer and search with that (HyDE); its tokens are charged as stage rewrite.

    ``retriever`` is what searches, ``model`` who writes (default: the configuration's own). ``keep_question`` searches
    with question and answer together. The method is that of Gao et al., "Precise Zero-Shot Dense Retrieval without
    Relevance Labels", ACL 2023, with one answer.
    """
    check_positive("hyde", max_tokens=max_tokens)
    return Hyde(sources.retriever(retriever), sources.model(model), max_tokens, keep_question=keep_question)


class Hyde:
    """Asks the model, then another retriever."""

    def __init__(self, retriever: Retriever, model: Model, max_tokens: int, *, keep_question: bool) -> None:
        self._retriever = retriever
        self._model = model
        self._max_tokens = max_tokens
        self._keep_question = keep_question

    def search(self, question: str) -> Sequence[Passage]:
        """What the other retriever finds for the made-up answer; for the question where the model wrote nothing."""
        written = rewrite(self._model, _INSTRUCTION, question, cue="Passage:", max_tokens=self._max_tokens)
        parts = (question, written) if self._keep_question or not written else (written,)
        return self._retriever.search("\n".join(filter(None, parts)))
