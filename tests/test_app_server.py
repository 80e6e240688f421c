"""The app's server: where it looks, what it refuses, and that it ends when told."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.conftest import ROOT, python
from workbench.app_server import serve
from workbench.errors import InputError

pytest.importorskip("streamlit")

# As a shell starts a background job: with interrupts ignored.
SERVE = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    "from workbench.app_server import serve; sys.exit(serve(int(sys.argv[1]), open_browser=False))"
)


@pytest.fixture
def port() -> int:
    with socket.socket() as trial:
        trial.bind(("localhost", 0))
        return int(trial.getsockname()[1])


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], subprocess.Popen[bytes]]]:
    """Start a server on a port and wait until it answers; it ends with the test."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    processes: list[subprocess.Popen[bytes]] = []

    def launch(port: int) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", SERVE, str(port)], stdout=subprocess.DEVNULL)
        processes.append(process)
        deadline = time.monotonic() + 60
        while not answers(port):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.2)
        return process

    yield launch
    for process in processes:
        process.terminate()
        process.wait(timeout=30)


def answers(port: int) -> bool:
    try:
        with urlopen(f"http://localhost:{port}/_stcore/health", timeout=5) as reply:
            return bool(reply.status == 200)
    except (URLError, OSError):
        return False


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_and_ends_when_told(
    told: signal.Signals, port: int, launched: Callable[[int], subprocess.Popen[bytes]]
) -> None:
    process = launched(port)
    with pytest.raises(InputError, match=f"--port {port} is taken"):
        serve(port)
    os.kill(process.pid, told)
    assert process.wait(timeout=30) == 0
    assert not answers(port)


def test_it_is_not_reachable_from_elsewhere(port: int, launched: Callable[[int], subprocess.Popen[bytes]]) -> None:
    launched(port)
    elsewhere = {
        address[4][0] for address in socket.getaddrinfo(socket.gethostname(), port, socket.AF_INET, socket.SOCK_STREAM)
    }
    for address in elsewhere - {"127.0.0.1", "127.0.1.1"}:
        with socket.socket() as caller:
            assert caller.connect_ex((address, port)) != 0


def test_without_streamlit_it_says_what_to_install() -> None:
    code = (
        "import importlib.util, workbench\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'streamlit' else find(name, *rest)\n"
        "from workbench.app_server import serve\n"
        "try: serve()\n"
        "except workbench.WorkbenchError as error: print(type(error).__name__, error)\n"
    )
    result = python("-c", code)
    assert result.stdout == "MissingLibrary streamlit is not installed; run: pip install 'rag-workbench[app]'\n", (
        result.stderr
    )
