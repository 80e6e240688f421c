"""The app's own process: Streamlit, while what every page needs is loaded beside its start and that of the browser."""

from __future__ import annotations

import importlib
import runpy
import threading

_NEEDED = ("pandas", "altair", "workbench.reports", "workbench.charts", "workbench.glance", "workbench.exports")
_loading = threading.Thread(target=lambda: [importlib.import_module(name) for name in _NEEDED], daemon=True)


def loaded() -> None:
    """Return when all of it is there: what another thread has only half imported cannot be used."""
    if _loading.ident is None:
        _loading.start()
    _loading.join()


def main() -> None:
    """Start loading, then serve until interrupted; the arguments are those of Streamlit's command line."""
    _loading.start()
    runpy.run_module("streamlit", run_name="__main__")
