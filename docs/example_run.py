"""Make anew the example run that the app shows where there is no run yet: the demonstration experiment, run here, as a bundle.

python docs/example_run.py      # some minutes; writes workbench/examples_data/example.zip
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import workbench
from workbench.bundle import pack
from workbench.showcase import BUNDLE, NAME

EXPERIMENT = Path(__file__).parent.parent / "evals" / "python-reference" / "demo.yaml"


def main() -> None:
    """Run the experiment in a store of its own, and export what it leaves."""
    with tempfile.TemporaryDirectory() as folder:
        store = workbench.Store(f"sqlite:///{Path(folder, 'runs.db')}")
        outcome = workbench.run(str(EXPERIMENT), name=NAME, store=store)
        size = pack(NAME, BUNDLE, store=store)
        store.close()
    print(f"{BUNDLE.name}: {outcome.answers} of {outcome.total} answers, {size:,} bytes")


if __name__ == "__main__":
    main()
