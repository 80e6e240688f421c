"""The app's server: Streamlit in a child process, bound to this machine, telling nobody."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import FrameType

from workbench.errors import InputError, MachineError, MissingLibrary

FIRST_PORT = 8501
_PORTS_TRIED = 50
_SECONDS_TO_END = 10.0
_PROCESS = "from workbench.app_process import main; main()"
_OPTIONS = {
    "server.address": "localhost",
    "server.fileWatcherType": "none",
    "server.showEmailPrompt": "false",
    "browser.gatherUsageStats": "false",
    "client.showErrorDetails": "none",
    "client.showErrorLinks": "false",
    "client.toolbarMode": "viewer",
    "client.disableDataExport": "true",  # a spreadsheet would run formulas from it; our own downloads are neutralised
    "client.showSidebarNavigation": "false",  # the navigation is on top; this keeps Streamlit's own from flashing up
    "theme.light.primaryColor": "#0072b2",
    "theme.dark.primaryColor": "#56b4e9",
}


def serve(port: int | None = None, open_browser: bool = True, store: str | None = None) -> int:
    """Serve the app until it is interrupted; returns Streamlit's exit code, 0 after an interrupt.

    Without a port, the first free one from 8501 on. ``InputError`` when the wanted one is taken, ``MissingLibrary`` where
    Streamlit is not installed.
    """
    if importlib.util.find_spec("streamlit") is None:
        raise MissingLibrary("streamlit", "app")
    options = {**_OPTIONS, "server.port": str(_free(port)), "server.headless": "false" if open_browser else "true"}
    command = [sys.executable, "-c", _PROCESS, "run", str(_script())]
    command += [f"--{option}={value}" for option, value in options.items()]
    environment = {**os.environ, "WORKBENCH_STORE": store} if store else None
    # A shell that starts us in the background has interrupts ignored; asked for by name, they arrive all the same.
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    process = subprocess.Popen(command, env=environment)
    try:
        return process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        _end(process)
        for number, handler in before.items():
            signal.signal(number, handler)


def _script() -> Path:
    """``app.py``: inside the package where that was installed from a wheel, beside it in a checkout."""
    package = Path(__file__).parent
    for folder in (package, package.parent):
        if (folder / "app.py").is_file() and (folder / "pages").is_dir():
            return folder / "app.py"
    raise MachineError(f"app.py is neither in {package} nor beside it; install rag-workbench anew")


def _free(wanted: int | None) -> int:
    """The wanted port, or the first free one."""
    candidates = range(FIRST_PORT, FIRST_PORT + _PORTS_TRIED) if wanted is None else (wanted,)
    for port in candidates:
        if _is_free(port):
            return port
    if wanted is None:
        raise InputError(
            f"every port from {FIRST_PORT} to {FIRST_PORT + _PORTS_TRIED - 1} is taken; name a free one with --port"
        )
    raise InputError(f"--port {wanted} is taken or not allowed; name another, or leave it out to take a free one")


def _is_free(port: int) -> bool:
    # Binding says nothing of a server on the other loopback address, so each is tried.
    for family, _, _, _, address in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM):
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(address)
            except (OSError, OverflowError):
                return False
    return True


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let the server end: at a terminal the interrupt reached it too, from elsewhere it is told here."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
