"""README is generated from the code where it can be, and its examples run."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

import workbench
from tests.conftest import ROOT
from workbench.__main__ import _LATER, cli

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_generated_parts_are_current() -> None:
    specification = importlib.util.spec_from_file_location("readme", ROOT / "docs" / "readme.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    assert module.updated(README) == README, "run: python docs/readme.py"


def test_the_example_plugins_run_as_printed(shared_cache: Path) -> None:
    examples = re.findall(r"<!-- example: (\S+) -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert {name for name, _ in examples} == {"my_plugins.py", "mine.yaml", "sweep.yaml"}
    for name, text in examples:
        Path(name).write_text(text, encoding="utf-8")
    outcome = workbench.run("mine.yaml")
    assert 4 * 5 < outcome.answers <= outcome.total == 4 * 5 + 2 * 80  # a race, and what its pick is confirmed on
    figures = workbench.compare().figures
    assert all(each.scores["python:my_plugins:short"] is not None for each in figures)
    assert all(not each.failures for each in figures)


def test_the_experiment_file_shown_is_valid() -> None:
    shown = re.search(r"## The experiment file\n\n```yaml\n(.*?)```", README, re.DOTALL)
    assert shown is not None
    Path("shown.yaml").write_text(shown[1], encoding="utf-8")
    experiment = workbench.read_experiment("shown.yaml")
    assert experiment.goal.limits == {"p95_seconds": 5}


def test_every_command_in_the_readme_exists() -> None:
    verbs = set(re.findall(r"^\s*(?:\.venv/bin/)?workbench ([a-z]+)", README, re.MULTILINE))
    assert verbs <= set(cli.commands) | set(_LATER)


@pytest.mark.parametrize("image", re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README))
def test_every_picture_is_there(image: str) -> None:
    assert (ROOT / image).stat().st_size > 10_000
