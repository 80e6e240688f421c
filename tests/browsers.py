"""The app and a real browser for tests: a server of the test's own that can be killed and started anew, and a page that
lets nothing outside this machine be asked for."""

from __future__ import annotations

import importlib.util
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psutil
import pytest

from tests.conftest import ROOT

if importlib.util.find_spec("playwright") is not None:
    from playwright.sync_api import BrowserContext, Dialog, Page, Request, expect, sync_playwright

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE = 60_000  # milliseconds; a busy machine is no failure
_OURS = re.compile(r"(https?|wss?)://localhost[:/]|data:|blob:|about:")


class Server:
    """The app's server on a free port, over the store of the environment."""

    def __init__(self) -> None:
        with socket.socket() as trial:
            trial.bind(("localhost", 0))
            self._port = trial.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where the app is."""
        return f"http://localhost:{self._port}"

    def start(self) -> None:
        """Serve, and return once it answers."""
        code = f"import sys; from workbench.app_server import serve; sys.exit(serve({self._port}, open_browser=False))"
        self._process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not self.answers():
            assert time.monotonic() < deadline
            assert self._process.poll() is None
            time.sleep(0.2)

    def answers(self) -> bool:
        """Whether anybody is there."""
        try:
            with urlopen(f"{self.address}/_stcore/health", timeout=5) as reply:  # noqa: S310 - our own http address
                return bool(reply.status == 200)
        except (URLError, OSError):
            return False

    def kill(self) -> None:
        """End it as a crash would: without a word to anybody, the runs that it started least of all."""
        assert self._process is not None
        [streamlit] = psutil.Process(self._process.pid).children()
        streamlit.send_signal(signal.SIGKILL)
        self._process.wait(timeout=30)
        assert not self.answers()

    def end(self) -> None:
        """End it as an interrupt does."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=30)


@pytest.fixture
def server(chromium: Path, own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server over a store of the test's own, running; the runs that the test leaves at work end with it.

    It asks for ``chromium`` so that nothing is served to a browser that is missing.
    """
    monkeypatch.setenv("WORKBENCH_STORE", str(own_folder / "runs.db"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    server = Server()
    try:
        server.start()
        yield server
    finally:
        server.end()
        for run in processes(own_folder):
            run.kill()


def processes(folder: Path) -> list[psutil.Process]:
    """The processes at work on runs that the app in a folder started."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cmdline()[1:4] == ["-m", "workbench", "run"] and Path(process.cwd()) == folder:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def asked_elsewhere() -> Iterator[list[str]]:
    """What pages asked for outside this machine, and the dialogs that they opened: nothing, or the test fails."""
    seen: list[str] = []
    yield seen
    assert seen == []


@pytest.fixture
def context(chromium: Path, asked_elsewhere: list[str]) -> Iterator[BrowserContext]:
    """A browser's window without pages; ``watched_page`` opens one."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(chromium), args=ARGUMENTS)
        expect.set_options(timeout=PATIENCE)
        yield another(browser.new_context(viewport={"width": 1280, "height": 800}), asked_elsewhere)
        browser.close()


def another(context: BrowserContext, seen: list[str]) -> BrowserContext:
    """The window, every page of which notes what it asks for elsewhere and the dialogs that it opens."""

    def watch(request: Request) -> None:
        if not _OURS.match(request.url):
            seen.append(request.url)

    def dismiss(dialog: Dialog) -> None:
        seen.append(dialog.message)
        dialog.dismiss()

    context.set_default_timeout(PATIENCE)
    context.on("request", watch)
    context.on("dialog", dismiss)
    return context


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A page that fails the test when it asks for anything outside this machine or opens a dialog."""
    return context.new_page()


def heading(page: Page, text: str) -> None:
    """Wait until the page is there, without a mistake of the app."""
    expect(page.get_by_role("heading", name=text, exact=True, level=1)).to_be_visible()
    expect(page.get_by_test_id("stException")).to_have_count(0)


def drawn(page: Page) -> None:
    """Wait until the page's script has run to its end: what is clicked while a page is drawn anew may be lost."""
    expect(page.locator("[data-test-script-state=notRunning]")).to_have_count(1)


def downloaded(page: Page, button: str) -> bytes:
    """The file behind a download button."""
    with page.expect_download() as download:
        page.get_by_role("button", name=button, exact=True).click()
    return Path(download.value.path()).read_bytes()
