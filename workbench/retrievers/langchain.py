"""Any retriever of your own, by its import path: bring your own RAG."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document as Found

from workbench import registry
from workbench.booking import stage
from workbench.contracts import Sources
from workbench.errors import InfrastructureFailure, InputError, WorkbenchError
from workbench.records import Corpus
from workbench.retrievers._places import Places
from workbench.retrievers._ranking import Ranking, check_depth, passages

needs: frozenset[str] = frozenset({"passages"})
"""What this retriever depends on."""

_SCORE = ("relevance_score", "score")


def build(sources: Sources, path: str, *, depth: int = 50) -> LangChainRetriever:
    """Any LangChain retriever or chain as langchain:package.module:name: an object with invoke(question), or what makes one.

    A function that takes an argument is given the corpus as LangChain documents, each with its ``id`` in the metadata.
    What is found is recognised by such an id (or ``document_id``, ``doc_id``, ``source``, or a file path that ends in one)
    and placed by its text; without an id it is looked for in the whole corpus. What is in no document of the corpus stays a
    text of its own. Its own model calls are in the seconds of the stage search, their tokens are not known.
    """
    check_depth("langchain", depth)
    retriever = _made(path, sources.corpus)
    if not callable(getattr(retriever, "invoke", None)):
        raise InputError(
            f"langchain:{path} is {type(retriever).__name__}, which has no invoke; expected a retriever, or a function that "
            "returns one"
        )
    return LangChainRetriever(f"langchain:{path}", retriever, Places(sources.corpus), depth)


def _made(path: str, corpus: Corpus) -> Any:
    try:
        module, _ = registry.load("retrievers", f"python:{path}")
    except InputError as error:  # found as the user's own plugins are, but written otherwise
        raise InputError([problem.replace("python:", "langchain:") for problem in error.problems]) from error
    named = getattr(module, "build", None)
    if callable(getattr(named, "invoke", None)) and not isinstance(named, type):
        return named
    if not callable(named):
        raise InputError(
            f"langchain:{path}: expected langchain:package.module:name of a retriever or of what makes one"
        )
    given = [_documents(corpus)] if _takes_documents(named) else []
    try:
        return named(*given)
    except WorkbenchError:
        raise
    except Exception as error:  # the user's code may raise anything
        raise InputError(f"langchain:{path} could not be made: {type(error).__name__}: {error}") from error


def _takes_documents(make: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(each.kind in positional and each.default is each.empty for each in parameters)


def _documents(corpus: Corpus) -> list[Found]:
    return [
        Found(id=each.id, page_content=each.text, metadata={**each.metadata, "id": each.id, "title": each.title})
        for each in corpus.documents
    ]


class LangChainRetriever:
    """Asks the object and finds what it returns in the corpus."""

    def __init__(self, name: str, retriever: Any, places: Places, depth: int) -> None:
        self._name = name
        self._retriever = retriever
        self._places = places
        self._depth = depth

    def search(self, question: str) -> Ranking:
        """What it found, best first, by the scores it gives, or 1 / rank where it gives none."""
        with stage("search"):
            try:
                found = self._retriever.invoke(question)
            except WorkbenchError:
                raise
            except Exception as error:  # the user's code may raise anything
                message = f"{self._name}: {type(error).__name__}: {error}"
                raise InfrastructureFailure("retriever_error", message) from error
        if not isinstance(found, Sequence) or not all(
            isinstance(getattr(each, "page_content", 0), str) for each in found
        ):
            raise InputError(f"{self._name} returned {type(found).__name__}; expected a list of LangChain documents")
        distinct = {chunk.id: (chunk, each.metadata) for each in found for chunk in [self._places.chunk(each)]}
        kept = list(distinct.values())[: self._depth]
        return passages([chunk for chunk, _ in kept], range(len(kept)), _scores([facts for _, facts in kept]))


def _scores(found: Sequence[Mapping[str, Any]]) -> list[float]:
    """The scores in the metadata where all have one and they agree with the order, else 1 / rank."""
    for name in _SCORE:
        scores = [facts.get(name) for facts in found]
        given = [float(score) for score in scores if isinstance(score, int | float)]
        if len(given) == len(found) and given == sorted(given, reverse=True):
            return given
    return [1 / rank for rank in range(1, len(found) + 1)]
