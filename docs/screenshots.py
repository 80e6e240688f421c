"""Take pictures of the app, from the newest run in the store: of every page docs/images/PAGE.png, and PAGE-dark.png."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal
from urllib.parse import urlencode
from urllib.request import urlopen

from playwright.sync_api import ViewportSize, sync_playwright

import workbench

IMAGES = Path(__file__).parent / "images"
SIZE: ViewportSize = {"width": 1280, "height": 800}
THEMES: dict[Literal["light", "dark"], str] = {"light": "", "dark": "-dark"}
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SETTLED = 2500  # milliseconds until tables and charts have drawn themselves


def main() -> None:
    """Serve the app, open each page on the newest run, take its picture."""
    runs = [overview for overview in workbench.runs() if overview.answers]
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if not runs or browser is None:
        sys.exit(
            "there is no run with answers yet; start with: make demo" if browser else "Chromium is not on this machine"
        )
    run = runs[0].record.name
    chosen = workbench.recommend(run).chosen
    addresses = {
        "overview": {"run": run},
        "experiment": {},
        "run": {"run": run},
        "compare": {"run": run},
        "answers": {"run": run, **({"configuration": chosen.id} if chosen else {})},
        "playground": {"run": run},
        "recommend": {"run": run},
        "footprint": {"run": run},
    }
    IMAGES.mkdir(exist_ok=True)
    with socket.socket() as trial:
        trial.bind(("localhost", 0))
        port = trial.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-m", "workbench", "app", "--no-browser", "--port", str(port)])
    try:
        wait_for(f"http://localhost:{port}/_stcore/health", server)
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=browser, args=ARGUMENTS)
            for theme, suffix in THEMES.items():
                page = chromium.new_page(viewport=SIZE, color_scheme=theme)
                for name, address in addresses.items():
                    page.goto(f"http://localhost:{port}/{name}?{urlencode(address)}")
                    page.get_by_role("heading", name=name.title(), level=1).wait_for()
                    page.wait_for_timeout(SETTLED)
                    page.screenshot(path=IMAGES / f"{name}{suffix}.png")
                    print(f"docs/images/{name}{suffix}.png: run {run}")
    finally:
        server.terminate()
        server.wait()


def wait_for(address: str, server: subprocess.Popen[bytes], seconds: float = 60.0) -> None:
    """Until the server answers."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urlopen(address, timeout=5).close()  # noqa: S310 - our own http address
            return
        except OSError:
            time.sleep(0.2)
    sys.exit("the app did not start; see the messages above")


if __name__ == "__main__":
    main()
