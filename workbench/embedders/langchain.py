"""Any LangChain embeddings, by their ``provider:model`` name."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from langchain.embeddings import init_embeddings
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from workbench import hosted, tokens
from workbench.booking import stage
from workbench.embedders._texts import unit, whole
from workbench.errors import InfrastructureFailure, MachineError
from workbench.models.langchain import _failure as failure


def build(
    name: str,
    *,
    base_url: str | None = None,
    timeout_seconds: float | None = None,
    active_billion: float | None = None,
) -> LangChainEmbedder:
    """Any LangChain embeddings by their provider:model name; the key comes from the provider's environment variable.

    ``active_billion`` are the model's parameters in billions, without which its energy is not estimated.
    """
    given = {"base_url": base_url, "timeout": timeout_seconds}
    known_as = hosted.embedder_known_as(name, active_billion=active_billion)
    return LangChainEmbedder(name, {key: value for key, value in given.items() if value is not None}, known_as)


class LangChainEmbedder:
    """Embeddings behind a provider's interface; their work is done elsewhere, so this process's clock does not see it.

    ``port`` is the server's where it is on this machine: a meter may read its clock.
    """

    runs_here = False

    def __init__(self, name: str, settings: dict[str, Any], known_as: str = "") -> None:
        self.name = known_as or name
        self.port = hosted.local_port(name, settings.get("base_url"))
        self._embeddings = _init(name, settings)
        package = type(self._embeddings).__module__.partition(".")[0]
        self.digest = f"{name}+{package}-{version(package.replace('_', '-'))}+{settings.get('base_url', '')}"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of the texts, shape (texts, dimensions). One text alone is embedded as a question, several as passages."""
        if not texts:
            return np.empty((0, 0), dtype=np.float32)
        plain = whole(texts)
        with stage("embed") as window:
            window.embedded(self, sum(map(tokens.count, plain)))
            try:
                found = self._ask(plain)
            except Exception as error:  # each provider raises its own classes; all are told apart by what they carry
                raise failure(error) from error
        return _checked(found, len(plain))

    def _ask(self, texts: list[str]) -> list[list[float]]:
        if len(texts) == 1:
            return [self._embeddings.embed_query(texts[0])]
        return self._embeddings.embed_documents(texts)


def _checked(found: list[list[float]], expected: int) -> NDArray[np.float32]:
    try:
        vectors = unit(found)
    except ValueError as error:
        raise InfrastructureFailure("bad_request", f"the embeddings cannot be used: {error}", permanent=True) from error
    if len(vectors) != expected:
        raise InfrastructureFailure(
            "bad_request", f"{len(vectors)} embeddings came for {expected} texts", permanent=True
        )
    return vectors


def _init(name: str, settings: dict[str, Any]) -> Embeddings:
    try:
        embeddings = init_embeddings(name, **settings)
    except ImportError as error:
        raise MachineError(f"embedder langchain:{name}: {error}") from error
    except Exception as error:  # a missing key or an unknown provider, each in the library's own words
        raise MachineError(
            f"embedder langchain:{name} cannot be used: {str(error).splitlines()[0]}; "
            "expected langchain:provider:model, and the provider's key in the environment"
        ) from error
    if hasattr(embeddings, "check_embedding_ctx_length"):
        # Else texts are sent as numbers of a vocabulary that is downloaded first, and that only OpenAI itself reads.
        embeddings.check_embedding_ctx_length = False
    return embeddings
