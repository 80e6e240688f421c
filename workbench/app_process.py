"""The app's own process: Streamlit, once what every page needs is loaded, so that the first page is as quick as the others."""

from __future__ import annotations

import gc
import importlib
import runpy
import threading

_NEEDED = ("pandas", "altair", "workbench.reports", "workbench.charts", "workbench.glance", "workbench.exports")
_loading = threading.Lock()


def load() -> None:
    """Import all of it, one thread at a time: what another thread has only half imported cannot be used."""
    with _loading:
        for name in _NEEDED:
            importlib.import_module(name)


def main() -> None:
    """Load, then serve until interrupted; the arguments are those of Streamlit's command line."""
    load()
    importlib.import_module("streamlit.web.cli")
    gc.freeze()  # Streamlit collects garbage after every pass over a page, which goes through all of the above
    runpy.run_module("streamlit", run_name="__main__")
