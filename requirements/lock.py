"""Write lock.txt: the exact version of every package that `.[all,dev]` needs, to be used as pip constraints.

Run by `make lock`. pip resolves against the indexes it is configured with; only names and versions are kept.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent

# Plain `torch` on Linux is a CUDA build of several GB. This version is offered as a CPU wheel, and a pin
# without the local suffix (+cpu) takes that wheel wherever pip sees it and the ordinary one elsewhere.
TORCH = "torch==2.13.0"


def resolve() -> list[tuple[str, str]]:
    """Return (name, version) of every package pip would install into an empty environment."""
    command = [sys.executable, "-m", "pip", "-qq", "install", "--dry-run", "--ignore-installed", "--report", "-"]
    report = subprocess.run([*command, ".[all,dev]", TORCH], cwd=FOLDER.parent, stdout=subprocess.PIPE, check=True)
    packages = [package["metadata"] for package in json.loads(report.stdout)["install"]]
    return sorted(
        (re.sub(r"[-_.]+", "-", package["name"]).lower(), package["version"].partition("+")[0])
        for package in packages
        if package["name"] != "rag-workbench"
    )


def main() -> None:
    pins = resolve()
    if any(name.startswith("nvidia-cu") for name, _ in pins):  # nvidia-ml-py only reads counters
        sys.exit(f"lock.txt is unchanged: pip chose a CUDA build of {TORCH}; give it an index that has CPU wheels")
    lines = [
        "# Written by `make lock`; do not edit. The tested version of every package of .[all,dev], as pip constraints:",
        '# pip install -e ".[all,dev]" -c requirements/lock.txt',
        *(f"{name}=={version}" for name, version in pins),
    ]
    (FOLDER / "lock.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"requirements/lock.txt: {len(pins)} packages")


if __name__ == "__main__":
    main()
