"""Find the smallest question-answering setup that is provably still good enough.

Everything the command line and the app can do is a function of this module; each name is loaded when it is first used,
so that ``import workbench`` costs nothing.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

# OpenMP threads that spin while they wait charge the neighbours' time to us; this must stand before any OpenMP library loads.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

__version__ = "0.1.0"

_HOME = {
    "Answer": "records",
    "Comparison": "comparison",
    "Configuration": "records",
    "Corpus": "records",
    "EvalSet": "records",
    "Experiment": "specification",
    "Playground": "playground",
    "Recommendation": "verdict",
    "Store": "store",
    "WorkbenchError": "errors",
    "add_question": "project",
    "answer_page": "browsing",
    "answers": "reports",
    "arranged": "views",
    "ask": "setup",
    "axis_effects": "effects",
    "budget": "control",
    "certify": "certificate",
    "changed_goal": "specification",
    "check": "doctor",
    "claim_rows": "glance",
    "compare": "reports",
    "comparison_rows": "views",
    "embedded_models": "doctor",
    "example": "showcase",
    "experiments": "specification",
    "export": "exports",
    "face_to_face": "duels",
    "footprint_of_setup": "outlays",
    "free_name": "launch",
    "gate": "gating",
    "gold": "browsing",
    "headlines": "glance",
    "highlighted": "browsing",
    "import_upload": "project",
    "lanes": "standing",
    "launched": "launch",
    "ledger_rows": "views",
    "load_corpus": "library",
    "load_evalset": "library",
    "load_setup": "setup",
    "notes": "explanations",
    "outline": "launch",
    "outlook": "vitals",
    "own_evalsets": "project",
    "pause": "control",
    "plan": "planning",
    "plan_notes": "plan_report",
    "plan_rows": "plan_report",
    "plan_sentences": "plan_report",
    "plugins": "registry",
    "process_load": "loads",
    "prompt_text": "templates",
    "read_experiment": "specification",
    "recommend": "reports",
    "regions": "reports",
    "rejection_rows": "glance",
    "reprice": "reports",
    "resume": "launch",
    "run": "experiment",
    "runs": "reports",
    "save_experiment": "project",
    "saving_rows": "glance",
    "search_sentences": "search_footprint",
    "sentences": "recommendation",
    "setup_file": "handover",
    "setups": "browsing",
    "side_by_side": "browsing",
    "snippet": "handover",
    "start": "launch",
    "stop": "control",
    "timed_plan": "plan_apart",
    "verify": "verification",
    "watch": "launch",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}")
    return getattr(importlib.import_module(f"workbench.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
