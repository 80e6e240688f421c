"""The other bound of retrieval: no choice at all, the whole corpus in the prompt."""

from __future__ import annotations

from workbench import tokens
from workbench.booking import stage
from workbench.chunkers import document as whole
from workbench.contracts import Sources
from workbench.errors import InputError
from workbench.packing import MARK_TOKENS
from workbench.retrievers._ranking import Ranking, passages

needs: frozenset[str] = frozenset({"context_tokens"})
"""What this retriever depends on."""


def build(sources: Sources) -> Everything:
    """A bound, for small corpora: every document whole and in order, where all of them fit context_tokens.

    Whether they fit is counted with the vocabulary that measures chunks; a model whose own tokens are smaller has the end cut.
    """
    splitter = whole.build()
    chunks = [chunk for document in sources.corpus.documents for chunk in splitter.split(document)]
    needed = sum(tokens.count(chunk.text) + MARK_TOKENS for chunk in chunks)
    if needed > sources.context_tokens:
        raise InputError(
            f"everything: the {len(chunks)} documents of {sources.corpus.name} take {needed:,} tokens; context_tokens is "
            f"{sources.context_tokens:,}: raise it (the model's own context must hold it too), or choose another retriever"
        )
    return Everything(passages(chunks, range(len(chunks)), [1.0] * len(chunks)))


class Everything:
    """Finds the same for every question."""

    def __init__(self, found: Ranking) -> None:
        self._found = found

    def search(self, question: str) -> Ranking:
        """All documents in the order of the corpus, all with score 1."""
        with stage("search"):
            return self._found
