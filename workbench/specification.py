"""The experiment file: what users write, validated as a whole so that every problem is reported at once."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from workbench import registry, templates
from workbench.errors import InputError, WorkbenchError
from workbench.records import DEFAULT_AXES, digest

_KIND_OF_AXIS = {
    "model": "models",
    "retriever": "retrievers",
    "embedder": "embedders",
    "chunker": "chunkers",
    "rerank": "rerankers",
}
_NOT_YET = {"dollars": "prices", "grams_co2e": "carbon accounting"}

_brief = reprlib.Repr()  # a value in a message must stay readable, however deep or long it is
_brief.maxlevel, _brief.maxlist, _brief.maxstring, _brief.maxother = 2, 4, 80, 80


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _choice(value: Any) -> Any:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, dict) and isinstance(value.get("name"), str) and all(isinstance(key, str) for key in value):
        return value if len(value) > 1 else value["name"]
    raise PydanticCustomError("choice", "expected a name, or a mapping with name and parameters")


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError("number", "expected a number")
    return value


Choices = Annotated[list[Annotated[Any, BeforeValidator(_choice)]], BeforeValidator(_listed), Field(min_length=1)]
Number = Annotated[float, BeforeValidator(_no_bool), Field(allow_inf_nan=False)]
Temperature = Annotated[Number, Field(ge=0, le=2)]
Positive = Annotated[int, Field(ge=1, strict=True)]
Count = Annotated[int, Field(ge=0, strict=True)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Space(_Strict):
    """Axis → the values to try; an axis left out stays at its default."""

    model: Choices = ["none"]
    prompt: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)] = [DEFAULT_AXES["prompt"]]
    temperature: Annotated[list[Temperature], BeforeValidator(_listed), Field(min_length=1)] = [0]
    top_k: Annotated[list[Count], BeforeValidator(_listed), Field(min_length=1)] = [DEFAULT_AXES["top_k"]]
    top_p: Annotated[list[Annotated[Number, Field(gt=0, le=1)]], BeforeValidator(_listed), Field(min_length=1)] = [1.0]
    repeat_penalty: Annotated[
        list[Annotated[Number, Field(ge=0.5, le=2)]], BeforeValidator(_listed), Field(min_length=1)
    ] = [1.0]
    max_tokens: Annotated[list[Positive], BeforeValidator(_listed), Field(min_length=1)] = [DEFAULT_AXES["max_tokens"]]
    stop: Annotated[list[list[str]], Field(min_length=1)] = [[]]
    retriever: Choices = [DEFAULT_AXES["retriever"]]
    embedder: Choices = [DEFAULT_AXES["embedder"]]
    index: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)] = [DEFAULT_AXES["index"]]
    chunker: Choices = [DEFAULT_AXES["chunker"]]
    chunk_tokens: Annotated[list[Positive], BeforeValidator(_listed), Field(min_length=1)] = [
        DEFAULT_AXES["chunk_tokens"]
    ]
    chunk_overlap: Annotated[list[Count], BeforeValidator(_listed), Field(min_length=1)] = [0]
    passages: Annotated[list[Positive], BeforeValidator(_listed), Field(min_length=1)] = [DEFAULT_AXES["passages"]]
    rerank: Choices = ["none"]
    context_tokens: Annotated[list[Positive], BeforeValidator(_listed), Field(min_length=1)] = [
        DEFAULT_AXES["context_tokens"]
    ]
    concurrency: Annotated[
        list[Annotated[int, Field(ge=1, le=64, strict=True)]], BeforeValidator(_listed), Field(min_length=1)
    ] = [1]


class Goal(_Strict):
    """What decides: the metric, how much worse than the best is acceptable, the bars, and what is to be small."""

    metric: str = "token_f1"
    margin: Annotated[Number, Field(ge=0, le=1)] = 0.05
    floor: Annotated[Number, Field(ge=0, le=1)] | None = None
    confidence: Annotated[Number, Field(gt=0.5, lt=1)] = 0.95
    reference: Literal["best"] = "best"
    minimise: Literal["joules", "tokens", "seconds"] = "joules"
    limits: dict[Literal["p50_seconds", "p95_seconds"], Annotated[Number, Field(gt=0)]] = {}

    @field_validator("minimise", mode="before")
    @classmethod
    def _measurable(cls, value: Any) -> Any:
        if value in _NOT_YET:
            raise PydanticCustomError(
                "not_yet",
                "cannot be minimised yet: {what} come in a later version; use joules, tokens or seconds",
                {"what": _NOT_YET[value]},
            )
        return value


class Budget(_Strict):
    """Where a run stops by itself, to be resumed; ``None`` is no bound."""

    minutes: Annotated[Number, Field(gt=0)] | None = None
    watt_hours: Annotated[Number, Field(gt=0)] | None = None
    tokens: Positive | None = None
    calls: Positive | None = None


class Selection(_Strict):
    """Which questions: a split (``all`` for every one), and how many of its seeded order."""

    split: str = "dev"
    limit: Positive | None = None


class Experiment(_Strict):
    """Everything a run needs, as the experiment file says it."""

    corpus: str
    evalset: str
    questions: Selection = Selection()
    metrics: Annotated[list[str], Field(min_length=1)] = ["token_f1", "exact_match", "contains", "recall@5", "ndcg@10"]
    goal: Goal = Goal()
    strategy: Annotated[Any, BeforeValidator(_choice)] = "grid"
    budget: Budget = Budget()
    repeats: Annotated[int, Field(ge=1, le=100, strict=True)] = 1
    region: str = "WOR"
    timeout_seconds: Annotated[Number, Field(gt=0)] = 60.0
    retries: Annotated[int, Field(ge=0, le=20, strict=True)] = 3
    seed: Annotated[int, Field(strict=True)] = 7
    space: Space = Space()
    name: str = ""

    @field_validator("metrics")
    @classmethod
    def _deciding_metric_first(cls, value: list[str], info: ValidationInfo) -> list[str]:
        return list(dict.fromkeys(value))


def read_experiment(source: str | Path | Mapping[str, Any]) -> Experiment:
    """An experiment from a file, from the name of a shipped or project one, or from a mapping.

    Raises ``InputError`` naming for every problem the file, the key path, the value and what is allowed.
    """
    if isinstance(source, Mapping):
        return _validate(dict(source), "experiment", "")
    path = find_experiment(source)
    content = _read_yaml(path)
    for key in ("corpus", "evalset"):
        value = content.get(key)
        if isinstance(value, str) and value and not _exists(Path(value)) and _exists(path.parent / value):
            content[key] = str(path.parent / value)
    return _validate(content, path.name, path.stem if path.stem != "experiment" else path.parent.resolve().name)


def find_experiment(name: str | Path) -> Path:
    """The experiment file of a path, or of a name under ``evals`` in the project folder or in what ships."""
    given = Path(name)
    if _exists(given) and given.is_file():
        return given
    inside = given / "experiment.yaml"
    if _exists(inside):
        return inside
    known = experiments()
    if str(name) in known:
        return known[str(name)]
    raise InputError(f"{name}: no such experiment file; available by name: {', '.join(sorted(known)) or 'none'}")


def experiments() -> dict[str, Path]:
    """Experiments that can be named: those of the project folder's ``evals``, then those that ship."""
    found: dict[str, Path] = {}
    for folder in experiment_folders():
        for path in sorted(folder.glob("*/*.yaml")):
            if path.name != "evalset.yaml":
                found.setdefault(path.parent.name if path.stem == "experiment" else path.stem, path)
    return found


def experiment_folders() -> list[Path]:
    """Where named experiments are looked up, first match wins."""
    here = Path(__file__).parent
    return [folder for folder in (Path("evals"), here / "evals", here.parent / "evals") if folder.is_dir()]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long for any file
        return False


class _UniqueKeys(yaml.SafeLoader):
    """The safe loader, refusing a key that stands twice (YAML would silently keep the last)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key!r} stands twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)  # noqa: S506 - a subclass of SafeLoader
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise InputError(f"{path}:{line}: not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, RecursionError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected key: value lines at the top, found {type(content).__name__}")
    return content


def _validate(content: dict[Any, Any], file: str, name: str) -> Experiment:
    named = {**content, "name": content.get("name") or name or digest(repr(content))[:8]}
    problems: list[str] = []
    experiment = None
    try:
        experiment = Experiment.model_validate(named)
    except ValidationError as error:
        problems = [_sentence(file, detail) for detail in error.errors()]
    problems += [f"{file}: {problem}" for problem in _unknown_plugins(content)]
    if problems or experiment is None:
        raise InputError(problems)
    if experiment.goal.metric not in experiment.metrics:
        experiment = experiment.model_copy(update={"metrics": [experiment.goal.metric, *experiment.metrics]})
    return experiment


def _unknown_plugins(content: dict[Any, Any]) -> list[str]:
    space = content.get("space")
    space = space if isinstance(space, dict) else {}
    problems: list[str] = []
    for axis, kind in _KIND_OF_AXIS.items():
        for position, choice in enumerate(_listed(space.get(axis, []))):
            problems += _problem_of(f"space.{axis}[{position}]", kind, choice)
    for position, name in enumerate(_listed(space.get("prompt", []))):
        if isinstance(name, str):
            try:
                templates.load(name)
            except InputError as error:
                problems += [f"space.prompt[{position}]: {problem}" for problem in error.problems]
    for position, name in enumerate(_listed(content.get("metrics", []))):
        problems += _problem_of(f"metrics[{position}]", "metrics", name)
    goal = content.get("goal")
    if isinstance(goal, dict) and "metric" in goal:
        problems += _problem_of("goal.metric", "metrics", goal["metric"])
    return problems + _problem_of("strategy", "strategies", content.get("strategy", "grid"))


def _problem_of(path: str, kind: str, choice: Any) -> list[str]:
    try:
        _choice(choice)
    except PydanticCustomError:
        return []  # its type is reported already
    try:
        registry.check(kind, choice)
        if kind == "metrics":
            registry.build(kind, choice)
    except WorkbenchError as error:
        return [f"{path}: {problem}" for problem in str(error).splitlines()]
    return []


def _sentence(file: str, detail: ErrorDetails) -> str:
    path = ""
    for part in detail["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    if detail["type"] == "extra_forbidden":
        parent = detail["loc"][:-1]
        known = _keys_of(parent)
        close = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1)
        return f"{file}: {path} is not a known key; " + (
            f"did you mean {close[0]}?" if close else f"expected one of {', '.join(known)}"
        )
    if detail["type"] == "missing":
        return f"{file}: {path} is missing; it must be given"
    message = detail["msg"]
    for wording in ("Input should be", "List should have", "Value should have", "Keys should be"):
        message = message.replace(wording, "expected")
    return f"{file}: {path.replace('.[key]', '')} is {_brief.repr(detail['input'])}; {message}"


def _keys_of(parent: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Experiment
    for part in parent:
        annotation = model.model_fields[str(part)].annotation if str(part) in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


def changed_goal(goal: Goal, changes: Mapping[str, Any]) -> Goal:
    """The goal with some keys changed, validated like the file's; the same goal when nothing is."""
    try:
        return Goal.model_validate({**goal.model_dump(), **changes})
    except ValidationError as error:
        raise InputError([_sentence("goal", detail) for detail in error.errors()]) from error


def one_point(axes: Mapping[str, Any], file: str) -> Space:
    """The space of a single point, for files that hold one configuration."""
    try:
        return Space.model_validate({axis: [value] for axis, value in axes.items()})
    except ValidationError as error:
        raise InputError([_sentence(file, detail) for detail in error.errors()]) from error
