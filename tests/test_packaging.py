"""What a user installs: the wheel carries everything, and works from an empty folder on its core dependencies alone."""

import json
import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent

EXPERIMENT = {
    "corpus": "python-reference",
    "evalset": "python-reference",
    "strategy": "grid",
    "questions": {"limit": 5},
    "metrics": ["token_f1"],
    "goal": {"metric": "token_f1", "margin": 0.05},
    "space": {"model": ["none", "scripted"], "retriever": ["bm25"]},
}

# Each belongs to an extra and must not come with the core.
HEAVY = {"torch", "transformers", "langchain", "faiss-cpu", "streamlit", "pandas", "altair", "xllamacpp"}


def execute(*command: str | Path, cwd: Path) -> str:
    """Run a command to its end, free of this checkout's settings, and return its standard output."""
    ours = ("WORKBENCH_", "PYTHON", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, f"{command} ended with {result.returncode}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist and, from it, the wheel: what one of them lacks, the wheel lacks."""
    folder = tmp_path_factory.mktemp("wheel")
    execute(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the scripts folder of a new environment that holds the wheel and its core dependencies."""
    folder = tmp_path_factory.mktemp("clean")
    execute(sys.executable, "-m", "venv", folder, cwd=folder)
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    constraints = ROOT / "requirements" / "lock.txt"
    execute(scripts / "python", "-m", "pip", "-qq", "install", wheel, "-c", constraints, cwd=folder)
    return scripts


def shipped(folder: str) -> set[str]:
    """Return the files of a folder of the checkout as they should be named in the wheel."""
    inside = Path(folder) if folder.startswith("workbench") else Path("workbench", folder)
    files = [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {(inside / path.relative_to(ROOT / folder)).as_posix() for path in files}


@pytest.mark.parametrize(
    "folder", ["pages", "corpora", "evals", "workbench/prompts", "workbench/tables", "workbench/examples_data"]
)
def test_the_wheel_carries_every_file_of(folder: str, wheel: Path) -> None:
    expected = shipped(folder)
    assert expected, f"{folder} is empty in the checkout"
    assert not expected - set(ZipFile(wheel).namelist())


def test_the_wheel_carries_the_app_and_nothing_beside_the_package(wheel: Path) -> None:
    names = ZipFile(wheel).namelist()
    assert "workbench/app.py" in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"workbench"}
    assert not [name for name in names if "__pycache__" in name]


def test_a_clean_environment_stays_light(clean: Path, tmp_path: Path) -> None:
    listing = execute(clean / "python", "-m", "pip", "list", "--format", "json", cwd=tmp_path)
    installed = {package["name"].lower() for package in json.loads(listing)}
    assert "rag-workbench" in installed
    assert not installed & HEAVY


def test_the_wheel_runs_an_experiment_from_an_empty_folder(clean: Path, tmp_path: Path) -> None:
    where = execute(clean / "python", "-c", "import workbench; print(workbench.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(clean.parent)
    assert "Usage" in execute(clean / "workbench", "--help", cwd=tmp_path)

    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(EXPERIMENT), encoding="utf-8")
    execute(clean / "workbench", "run", "experiment.yaml", cwd=tmp_path)
    compared = json.loads(execute(clean / "workbench", "compare", "latest", "--format", "json", cwd=tmp_path))
    models = {configuration["axes"]["model"] for configuration in compared["configurations"]}
    assert models == {"none", "scripted"}
