"""Any LangChain chat model, by its ``provider:model`` name."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any, Literal

from langchain.chat_models import init_chat_model
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage

from workbench import hosted, tokens
from workbench.booking import first_token
from workbench.contracts import ModelFacts
from workbench.errors import GenerationError, InfrastructureFailure, MachineError, ModelFailure
from workbench.records import Completion, Decoding, Prompt

# How a provider's class may spell a setting; the first of its fields that matches is used.
_SPELLINGS = {
    "temperature": ("temperature",),
    "top_k": ("top_k",),
    "top_p": ("top_p",),
    "min_p": ("min_p",),
    "repeat_penalty": ("repeat_penalty", "repetition_penalty"),
    "max_tokens": ("max_tokens", "num_predict", "max_output_tokens", "max_new_tokens"),
    "stop": ("stop", "stop_sequences"),
    "seed": ("seed",),
    "logprobs": ("top_logprobs",),
}
_ROLES = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}


class LangChainModel:
    """A chat model behind a provider's interface; its work is done elsewhere, so this process's clock does not see it.

    ``port`` is the server's where it is on this machine: a meter may read its clock.
    """

    style: Literal["chat", "text"] = "chat"
    runs_here = False

    def __init__(self, name: str, model: BaseChatModel, settings: dict[str, Any], known_as: str = "") -> None:
        self._name = name
        self.name = known_as or name
        self.port = hosted.local_port(name, settings.get("base_url"))
        self._settings = settings
        self._timeout_seconds: float = settings["timeout"]
        self._by_decoding: dict[Decoding, BaseChatModel] = {}
        self._fields = _fields(model)
        self.accepts = frozenset(self._fields)
        self.digest = _digest(name, model)

    def generate(self, prompt: Prompt, decoding: Decoding) -> Completion:
        """One completion, streamed so that the time to the first token is known."""
        *_, last = self.stream(prompt, decoding)
        assert isinstance(last, Completion)
        return last

    def stream(self, prompt: Prompt, decoding: Decoding) -> Iterator[str | Completion]:
        """The text in pieces, then the whole completion with the provider's own token counts."""
        model = self._model(decoding)
        messages = [_ROLES[message.role](content=message.content) for message in prompt.messages]
        whole: AIMessageChunk | None = None
        first: float | None = None
        started = time.perf_counter()
        try:
            for chunk in model.stream(messages):
                if time.perf_counter() - started > self._timeout_seconds:  # the library's own limit is between chunks
                    raise InfrastructureFailure("timeout", f"no whole answer within {self._timeout_seconds:g} s")
                if chunk.text and first is None:
                    first = time.perf_counter() - started
                    first_token()
                whole = chunk if whole is None else whole + chunk
                if chunk.text:
                    yield str(chunk.text)
        except GenerationError:
            raise
        except Exception as error:  # each provider raises its own classes; all are told apart by what they carry
            raise _failure(error) from error
        if whole is None:
            raise ModelFailure("empty_output", f"{self._name} returned nothing")
        yield _completion(whole, first, time.perf_counter() - started)

    def count_tokens(self, text: str) -> int:
        """Tokens by OpenAI's o200k table: exact for its newer models, close for others; the ledger uses the provider's counts."""
        return tokens.count(text)

    def close(self) -> None:
        """Connections belong to the provider's library."""
        self._by_decoding.clear()

    def _model(self, decoding: Decoding) -> BaseChatModel:
        if decoding not in self._by_decoding:
            wanted = {field: getattr(decoding, setting) for setting, field in self._fields.items()}
            given = {
                field: list(value) if isinstance(value, tuple) else value
                for field, value in wanted.items()
                if value not in (None, ())
            }
            if "top_logprobs" in given:
                given["logprobs"] = True  # who counts the candidates has a switch beside the count
            self._by_decoding[decoding] = _init(self._name, {**self._settings, **given})
        return self._by_decoding[decoding]


def _init(name: str, settings: dict[str, Any]) -> BaseChatModel:
    try:
        return init_chat_model(name, **settings)
    except ImportError as error:
        raise MachineError(f"{name}: {error}") from error
    except Exception as error:  # a missing key or an unknown provider, each in the library's own words
        raise MachineError(
            f"{name} cannot be used: {str(error).splitlines()[0]}; set the provider's key in the environment"
        ) from error


def _fields(model: BaseChatModel) -> dict[str, str]:
    """Decoding setting → the field of this model's class that carries it, for those it has."""
    known = {alias for name, field in type(model).model_fields.items() for alias in (name, field.alias) if alias}
    return {
        setting: next(spelling for spelling in spellings if spelling in known)
        for setting, spellings in _SPELLINGS.items()
        if known.intersection(spellings)
    }


def _digest(name: str, model: BaseChatModel) -> str:
    package = type(model).__module__.partition(".")[0]
    return f"{name}+{package}-{version(package.replace('_', '-'))}"


def _completion(message: AIMessageChunk, first: float | None, seconds: float) -> Completion:
    usage: Any = message.usage_metadata or {}
    details = usage.get("input_token_details") or {}
    metadata = message.response_metadata
    reason = str(metadata.get("finish_reason") or metadata.get("stop_reason") or metadata.get("done_reason") or "")
    if reason == "content_filter":
        raise ModelFailure("refused", "the provider's content filter withheld the answer")
    return Completion(
        text=str(message.text),
        tokens_in=usage.get("input_tokens"),
        tokens_cached=details.get("cache_read", 0) if usage else None,
        tokens_out=usage.get("output_tokens"),
        seconds_to_first_token=first,
        decode_seconds=None if first is None else seconds - first,
        finish_reason=reason,
        logprobs=_candidates(metadata.get("logprobs")),
    )


def _candidates(logprobs: Any) -> dict[str, float] | None:
    """The candidates of the first token, as OpenAI and those who speak its protocol give them."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    candidates = content[0].get("top_logprobs") if content else None
    return {each["token"]: each["logprob"] for each in candidates} if candidates else None


def _failure(error: Exception) -> GenerationError:
    status = getattr(error, "status_code", None) or getattr(getattr(error, "response", None), "status_code", None)
    kind = type(error).__name__
    message = f"{kind}: {error}"
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    wait = str(headers.get("retry-after", ""))
    retry_after = float(wait) if wait.replace(".", "", 1).isdigit() else None
    if status == 429:
        return InfrastructureFailure("rate_limit", message, retry_after=retry_after)
    if status in (401, 403):
        return InfrastructureFailure("authentication", message, permanent=True)
    if "timeout" in kind.lower() or isinstance(error, TimeoutError) or status == 408:
        return InfrastructureFailure("timeout", message)
    if isinstance(status, int) and status >= 500:
        return InfrastructureFailure("server_error", message, retry_after=retry_after)
    if "context" in str(error).lower() and ("length" in str(error).lower() or "exceed" in str(error).lower()):
        return ModelFailure("context_overflow", message)
    if "content_filter" in str(getattr(error, "code", "")) or "content management policy" in message:
        return ModelFailure("refused", message)
    if "connect" in kind.lower() or isinstance(error, OSError):
        return InfrastructureFailure("lost_connection", message)
    return InfrastructureFailure("bad_request", message, permanent=True)


def facts(name: str, **settings: Any) -> ModelFacts:
    """What is known of a provider's model before it is asked anything."""
    model = _init(name, _connection(**settings))
    return ModelFacts(accepts=frozenset(_fields(model)), style="chat", runs_here=False, digest=_digest(name, model))


def _connection(base_url: str | None = None, timeout_seconds: float = 60.0, **_: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "timeout": timeout_seconds,
        "max_retries": 0,
    }  # the run retries, and books what it costs
    return {**settings, "base_url": base_url, "stream_usage": True} if base_url else settings


def build(
    name: str,
    *,
    base_url: str | None = None,
    timeout_seconds: float = 60.0,
    active_billion: float | None = None,
    total_billion: float | None = None,
    batch: bool = False,
) -> LangChainModel:
    """Any LangChain chat model by its provider:model name; the key comes from the provider's environment variable.

    ``active_billion`` and ``total_billion`` are its parameters, where energy cannot be estimated without being told;
    ``batch`` says that answers are to be had in the provider's batch mode: it changes the estimate, not the call.
    """
    settings = _connection(base_url, timeout_seconds)
    known_as = hosted.known_as(name, active_billion=active_billion, total_billion=total_billion, batch=batch)
    return LangChainModel(name, _init(name, settings), settings, known_as)
