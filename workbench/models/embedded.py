"""Models that ship as packages, run by llama.cpp's own server inside this process."""

from __future__ import annotations

import json
import os
import queue
import secrets
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextvars import copy_context
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Literal

import xllamacpp

from workbench.booking import first_token
from workbench.coefficients import vcpus
from workbench.contracts import ModelFacts
from workbench.errors import GenerationError, InfrastructureFailure, MachineError, ModelFailure
from workbench.records import Completion, Decoding, Prompt
from workbench.weights import find, require

Style = Literal["auto", "chat", "text"]

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy must not see our own loopback port
_ACCEPTS = frozenset(
    {"temperature", "top_k", "top_p", "min_p", "repeat_penalty", "max_tokens", "stop", "seed", "logprobs"}
)


class EmbeddedModel:
    """llama.cpp's server on a loopback port with a random key; requests are handed over in process, without HTTP."""

    accepts = _ACCEPTS
    runs_here = True

    def __init__(
        self, name: str, facts: ModelFacts, *, context_tokens: int, slots: int, threads: int, timeout_seconds: float
    ):
        self.style: Literal["chat", "text"] = facts.style
        self.digest = facts.digest
        self._name = name
        self._context_tokens = context_tokens
        self._timeout_seconds = timeout_seconds
        self._key = secrets.token_urlsafe(32)
        self._server: Any = _start(str(require(name, "generator")), self._key, context_tokens, slots, threads)
        self._count = lru_cache(maxsize=65536)(self._tokenize)

    def generate(self, prompt: Prompt, decoding: Decoding) -> Completion:
        """One completion; cancelled in the engine when it takes longer than ``timeout_seconds``."""
        return self._generate(prompt, decoding, lambda piece: None)

    def stream(self, prompt: Prompt, decoding: Decoding) -> Iterator[str | Completion]:
        """The text in pieces as they are made, then the whole completion."""
        pieces: queue.SimpleQueue[str | Completion | Exception] = queue.SimpleQueue()

        def work() -> None:
            try:
                pieces.put(self._generate(prompt, decoding, pieces.put))
            except Exception as error:  # whatever it is, the caller must not wait for ever
                pieces.put(error)

        threading.Thread(target=copy_context().run, args=(work,), daemon=True).start()
        while True:
            piece = pieces.get()
            if isinstance(piece, Exception):
                raise piece
            yield piece
            if isinstance(piece, Completion):
                return

    def count_tokens(self, text: str) -> int:
        """Tokens of a text by the model's own tokenizer, without the marks of a prompt's beginning and end."""
        return self._count(text)

    def count_prompt(self, prompt: Prompt) -> int:
        """Tokens of a whole prompt as ``generate`` reads it: the chat template and the marks of its beginning included."""
        text = prompt.text
        if self.style == "chat":
            messages = [{"role": message.role, "content": message.content} for message in prompt.messages]
            text = self._request("/apply-template", {"messages": messages})["prompt"]
        return len(self._request("/tokenize", {"content": text, "add_special": True})["tokens"])

    def close(self) -> None:
        """Stop the engine and free its memory."""
        self._server = None

    def slots(self) -> list[dict[str, Any]]:
        """The engine's slots with the settings of their last request, as it reports them."""
        return list(self._request("/slots", None))

    # ------------------------------------------------------------------------------------------------- the engine

    def _generate(self, prompt: Prompt, decoding: Decoding, on_piece: Any) -> Completion:
        request = _request_of(decoding)
        if self.style == "chat":
            handle = self._server.handle_chat_completions
            request["messages"] = [{"role": message.role, "content": message.content} for message in prompt.messages]
        else:
            handle = self._server.handle_completions
            request["prompt"] = prompt.text
        started = time.perf_counter()
        pieces: list[str] = []
        last: dict[str, Any] = {}
        finish_reason = ""
        first: float | None = None
        logprobs: dict[str, float] | None = None
        late = False

        def receive(event: dict[str, Any]) -> bool:
            nonlocal finish_reason, first, logprobs, late
            if "error" in event or "usage" in event:
                last.update(event)
            for choice in event.get("choices", ()):
                piece = choice.get("text") or choice.get("delta", {}).get("content") or ""
                finish_reason = choice.get("finish_reason") or finish_reason
                if logprobs is None and choice.get("logprobs"):
                    logprobs = _candidates(choice["logprobs"])
                if piece:
                    if first is None:
                        first = time.perf_counter() - started
                        first_token()
                    pieces.append(piece)
                    on_piece(piece)
            late = time.perf_counter() - started > self._timeout_seconds
            return late

        handle(request, receive)
        if late and not finish_reason:
            raise InfrastructureFailure("timeout", f"no answer within {self._timeout_seconds:g} s", permanent=True)
        if "error" in last:
            raise _failure(last["error"])
        if "usage" not in last:
            raise InfrastructureFailure("lost_connection", "the engine ended the answer without its counts")
        timings = last["timings"]
        return Completion(
            text="".join(pieces),
            tokens_in=last["usage"]["prompt_tokens"],
            tokens_cached=timings["cache_n"],
            tokens_out=last["usage"]["completion_tokens"],
            seconds_to_first_token=first,
            prefill_seconds=timings["prompt_ms"] / 1000,
            decode_seconds=timings["predicted_ms"] / 1000,
            finish_reason=finish_reason,
            logprobs=logprobs,
        )

    def _tokenize(self, text: str) -> int:
        return len(self._request("/tokenize", {"content": text, "add_special": False})["tokens"])

    def _request(self, path: str, body: dict[str, Any] | None) -> Any:
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._server.listening_address + path, data=data, headers=headers)  # noqa: S310 - our own loopback port
        with _DIRECT.open(request, timeout=self._timeout_seconds) as reply:
            return json.load(reply)


def _start(path: str, key: str, context_tokens: int, slots: int, threads: int) -> Any:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = path
    parameters.n_parallel = slots
    parameters.n_ctx = context_tokens * slots
    parameters.kv_unified = False  # every slot has the whole context, so that concurrency never shortens a prompt
    parameters.cache_ram_mib = 0  # no second prompt cache: what is reused must be the slot's own prefix
    parameters.api_keys = [key]
    parameters.hostnames = ["127.0.0.1"]
    parameters.cors_origins = "http://127.0.0.1"
    parameters.ui = False
    parameters.verbosity = -1
    for pool in (parameters.cpuparams, parameters.cpuparams_batch):
        pool.n_threads = threads or vcpus()
        pool.poll = 0  # waiting threads sleep instead of spinning: a busy neighbour must not change our CPU-seconds
    try:
        return xllamacpp.Server(parameters)
    except (RuntimeError, OSError) as error:
        raise MachineError(f"llama.cpp could not load {os.path.basename(path)}: {error}") from error


def _request_of(decoding: Decoding) -> dict[str, Any]:
    settings = {
        "temperature": decoding.temperature,
        "top_k": decoding.top_k,
        "top_p": decoding.top_p,
        "min_p": decoding.min_p or 0.0,  # the engine's own default is another
        "repeat_penalty": decoding.repeat_penalty,
        "max_tokens": decoding.max_tokens,
        "seed": decoding.seed,
        "n_probs": decoding.logprobs,
        "stop": list(decoding.stop) or None,
    }
    request: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
    return {**request, "cache_prompt": True, "stream": True, "stream_options": {"include_usage": True}}


def _candidates(logprobs: dict[str, Any]) -> dict[str, float] | None:
    """The candidates of the first token; of several tokens that read the same the likeliest."""
    found: dict[str, float] = {}
    for candidate in logprobs["content"][0]["top_logprobs"] if logprobs.get("content") else ():
        found.setdefault(candidate["token"], candidate["logprob"])
    return found or None


def _failure(error: dict[str, Any]) -> GenerationError:
    message = str(error.get("message", error))
    if error.get("type") == "exceed_context_size_error":
        return ModelFailure("context_overflow", message)
    if int(error.get("code", 500)) < 500:
        return InfrastructureFailure("bad_request", message, permanent=True)
    return InfrastructureFailure("server_error", message)


def facts(name: str, *, style: Style = "auto", **_: Any) -> ModelFacts:
    """What is known of an embedded model before it is loaded; a base model is given text whatever is asked for."""
    weights = find(name, "generator")
    chat = weights.style == "chat" and style != "text"
    return ModelFacts(
        accepts=_ACCEPTS,
        style="chat" if chat else "text",
        runs_here=True,
        digest=f"{weights.sha256[:16]}+xllamacpp-{version('xllamacpp')}",
    )


def build(
    name: str,
    *,
    style: Style = "auto",
    context_tokens: int = 4096,
    slots: int = 1,
    threads: int = 0,
    timeout_seconds: float = 60.0,
) -> EmbeddedModel:
    """A language model that ships as a package, run in this process by llama.cpp.

    ``style: text`` lets an instruct model continue raw text instead of answering messages; 0 threads is one per vCPU.
    """
    return EmbeddedModel(
        name,
        facts(name, style=style),
        context_tokens=context_tokens,
        slots=slots,
        threads=threads,
        timeout_seconds=timeout_seconds,
    )
