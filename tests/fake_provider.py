"""A provider on this machine that speaks OpenAI's chat protocol, remembers what it was asked and fails on demand.

::

    with FakeProvider() as provider:
        provider.script = Reply(text="forty days")
        …                                       # a client of provider.url
        provider.requests[-1].body["temperature"]

As a process of its own, which keeps a processor busy for so many seconds per answer::

    python -m tests.fake_provider 0.05          # prints its URL, and lives until its input ends
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the next requests get: a streamed text with its usage, or an error, or silence, or a broken line."""

    text: str = "forty days"
    tokens_in: int = 12
    tokens_cached: int = 0
    finish_reason: str = "stop"
    usage: bool = True
    status: int = 200
    code: str | None = None
    message: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    silent_seconds: float = 0.0
    """Before the first byte."""
    busy_seconds: float = 0.0
    """CPU time before the first byte."""
    pause_seconds: float = 0.0
    """Before every word."""
    drop_after: int | None = None
    """Break the connection after so many words (0: before the status line)."""
    logprobs: tuple[dict[str, float], ...] = ()
    """For each of the first words the candidates with their logarithms of probability; sent where they are asked for."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a client sent."""

    path: str
    authorization: str
    body: dict[str, Any]


class FakeProvider:
    """The provider, for the length of a ``with`` block."""

    def __init__(self) -> None:
        self.script = Reply()
        self.requests: list[Request] = []
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        """The base URL for clients."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> FakeProvider:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def wait(self, seconds: float) -> None:
        """Sleep, but not longer than the provider lives."""
        self._closing.wait(seconds)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except ConnectionError:
                    self.close_connection = True  # the client went away

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                authorization = self.headers.get("Authorization", "")
                provider.requests.append(Request(path=self.path, authorization=authorization, body=body))
                self._answer(provider.script, body)

            def _answer(self, reply: Reply, body: dict[str, Any]) -> None:
                provider.wait(reply.silent_seconds)
                end = time.thread_time() + reply.busy_seconds
                while time.thread_time() < end:
                    sum(range(1000))
                if reply.drop_after == 0:
                    self.close_connection = True
                elif reply.status != 200:
                    error = {"message": reply.message or f"status {reply.status}", "type": "error", "code": reply.code}
                    self._send(reply, json.dumps({"error": error}).encode(), "application/json")
                else:
                    self._stream(reply, body)

            def _send(self, reply: Reply, content: bytes, kind: str) -> None:
                self.send_response(reply.status)
                for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def _stream(self, reply: Reply, body: dict[str, Any]) -> None:
                assert body["stream"] is True, (
                    "the client asked for no stream, so it cannot know when the first token came"
                )
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for number, event in enumerate(events(reply, body)):
                    if number == reply.drop_after:
                        self.close_connection = True
                        return
                    self._chunk(f"data: {json.dumps(event)}\n\n".encode())
                    provider.wait(reply.pause_seconds)
                self._chunk(b"data: [DONE]\n\n")
                self._chunk(b"")

            def _chunk(self, content: bytes) -> None:
                self.wfile.write(f"{len(content):X}\r\n".encode() + content + b"\r\n")
                self.wfile.flush()

            def log_message(self, *_: object) -> None:
                """Keep the tests' output clean."""

        return Handler


def events(reply: Reply, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The reply as OpenAI streams it: word by word (a word is a token), then the finish reason, then the usage."""
    common = {"id": "chat-1", "object": "chat.completion.chunk", "created": int(time.time()), "model": body["model"]}
    words = reply.text.split(" ") if reply.text else []
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or len(words)
    cut = len(words) > limit
    words = words[:limit]
    for number, word in enumerate(words):
        delta = {"role": "assistant", "content": word if number == 0 else f" {word}"}
        choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": None}
        if body.get("logprobs") and number < len(reply.logprobs):
            choice["logprobs"] = {"content": [_candidates(word, reply.logprobs[number], body.get("top_logprobs", 0))]}
        yield {**common, "choices": [choice]}
    yield {**common, "choices": [{"index": 0, "delta": {}, "finish_reason": "length" if cut else reply.finish_reason}]}
    if reply.usage and body.get("stream_options", {}).get("include_usage"):
        usage = {
            "prompt_tokens": reply.tokens_in,
            "completion_tokens": len(words),
            "total_tokens": reply.tokens_in + len(words),
            "prompt_tokens_details": {"cached_tokens": reply.tokens_cached},
        }
        yield {**common, "choices": [], "usage": usage}


def _candidates(word: str, logprobs: dict[str, float], most: int) -> dict[str, Any]:
    listed = [{"token": token, "logprob": logprob, "bytes": None} for token, logprob in logprobs.items()]
    return {"token": word, "logprob": logprobs.get(word, -9.0), "bytes": None, "top_logprobs": listed[:most]}


if __name__ == "__main__":
    with FakeProvider() as alone:
        alone.script = Reply(busy_seconds=float(sys.argv[1]))
        print(alone.url, flush=True)
        sys.stdin.read()
