"""The experiment file: what users write, validated as a whole so that every problem is reported at once."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast
from urllib.parse import urlencode

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from workbench import grids, registry, templates
from workbench.cutoff import cutoff
from workbench.errors import InputError, WorkbenchError
from workbench.geography import WORLD
from workbench.records import DEFAULT_AXES, digest, plugin_label, plugin_name

KIND_OF_AXIS = {
    "model": "models",
    "retriever": "retrievers",
    "embedder": "embedders",
    "chunker": "chunkers",
    "rerank": "rerankers",
    "compress": "compressors",
}
"""The axes whose values are plugins, with the kind of plugin."""
_LONGEST_RANGE = 1000
_PRESETS = Path(__file__).parent / "presets"

_brief = reprlib.Repr()  # a value in a message must stay readable, however deep or long it is
_brief.maxlevel, _brief.maxlist, _brief.maxstring, _brief.maxother = 2, 4, 80, 80


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _ranged(value: Any) -> Any:
    """One value, a list, or a range: ``{from: 64, to: 256, step: 64}``, or with ``factor: 2`` for 64, 128, 256."""
    if not isinstance(value, dict):
        return _listed(value)
    known = {"from", "to", "step", "factor"}
    numbers = {key: bound for key, bound in value.items() if isinstance(bound, int | float) and key in known}
    if numbers.keys() != value.keys() or not {"from", "to"} <= numbers.keys() or len(numbers) > 3:
        raise PydanticCustomError("range", "expected {{from: 64, to: 256, step: 64}}, or factor in place of step")
    at, last, step, factor = numbers["from"], numbers["to"], numbers.get("step"), numbers.get("factor")
    step = 1 if step is None and factor is None else step
    if (step is not None and step <= 0) or (factor is not None and (factor <= 1 or at <= 0)) or at > last:
        raise PydanticCustomError("range", "expected a range that grows from its first value to its last")
    found: list[float] = []
    while at <= last + 1e-9 and len(found) <= _LONGEST_RANGE:
        found.append(round(at, 9) if isinstance(at, float) else at)
        at = at + step if step is not None else at * (factor or 0)
    if len(found) > _LONGEST_RANGE:
        raise PydanticCustomError("range", "has more than {most} values", {"most": _LONGEST_RANGE})
    return found


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


def _data_source(value: Any) -> Any:
    """A name or path; ``{path: data.csv, columns: {text: body}}`` becomes ``data.csv?text=body``."""
    if not isinstance(value, dict):
        return value
    path, columns = value.get("path"), value.get("columns", {})
    plain = isinstance(columns, dict) and all(isinstance(part, str) for part in (*columns, *columns.values()))
    if value.keys() - {"path", "columns"} or not isinstance(path, str) or not plain:
        raise PydanticCustomError("source", "expected a name, a path, or {{path: data.csv, columns: {{text: body}}}}")
    return f"{path}?{urlencode(columns)}" if columns else path


def _region(value: Any) -> Any:
    try:
        return grids.checked(value)
    except InputError as error:
        said = "; ".join(error.problems).removeprefix(f"region is {value!r}, ")
        raise PydanticCustomError("region", "{said}", {"said": said}) from error


def _reference(value: Any) -> Any:
    """The best, the id of a configuration, or its axes."""
    if isinstance(value, dict):
        try:
            one_point(value, "goal.reference")
        except InputError as error:
            raise PydanticCustomError("reference", "{said}", {"said": str(error)}) from error
        return value
    if isinstance(value, str) and (value == "best" or re.fullmatch(r"[0-9a-f]{4,10}", value)):
        return value
    raise PydanticCustomError("reference", "expected best, the id of a configuration, or its axes: {{model: …, …}}")


def _confirmation(value: Any) -> Any:
    """``true`` and ``false`` for the usual confirmation and for none."""
    return Confirmation() if value is True else None if value is False else value


Choice = Annotated[Any, BeforeValidator(_choice)]
Choices = Annotated[list[Choice], BeforeValidator(_listed), Field(min_length=1)]
Number = Annotated[float, BeforeValidator(_no_bool), Field(allow_inf_nan=False)]
Share = Annotated[Number, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1, strict=True)]
Count = Annotated[int, Field(ge=0, strict=True)]
DataSource = Annotated[str, BeforeValidator(_data_source)]
Region = Annotated[str | dict[str, Any], BeforeValidator(_region)]

_Values = (BeforeValidator(_ranged), Field(min_length=1))
Positives = Annotated[list[Positive], *_Values]
Counts = Annotated[list[Count], *_Values]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Space(_Strict):
    """Axis → the values to try: one, a list, or for numbers a range; an axis left out stays at its default."""

    model: Choices = ["none"]
    prompt: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)] = [DEFAULT_AXES["prompt"]]
    examples: Annotated[list[Annotated[int, Field(ge=0, le=64, strict=True)]], *_Values] = [0]
    example_choice: Annotated[list[Literal["fixed", "nearest"]], *_Values] = ["fixed"]
    temperature: Annotated[list[Annotated[Number, Field(ge=0, le=2)]], *_Values] = [0]
    top_k: Counts = [DEFAULT_AXES["top_k"]]
    top_p: Annotated[list[Annotated[Number, Field(gt=0, le=1)]], *_Values] = [1.0]
    min_p: Annotated[list[Share], *_Values] = [0.0]
    repeat_penalty: Annotated[list[Annotated[Number, Field(ge=0.5, le=2)]], *_Values] = [1.0]
    max_tokens: Positives = [DEFAULT_AXES["max_tokens"]]
    stop: Annotated[list[list[str]], Field(min_length=1)] = [[]]
    retriever: Choices = [DEFAULT_AXES["retriever"]]
    min_score: Annotated[list[Number | None], *_Values] = [None]
    embedder: Choices = [DEFAULT_AXES["embedder"]]
    dimensions: Annotated[list[Positive | None], *_Values] = [None]
    precision: Annotated[list[Literal["float32", "int8", "binary"]], *_Values] = ["float32"]
    index: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)] = [DEFAULT_AXES["index"]]
    chunker: Choices = [DEFAULT_AXES["chunker"]]
    chunk_tokens: Positives = [DEFAULT_AXES["chunk_tokens"]]
    chunk_overlap: Counts = [0]
    passages: Positives = [DEFAULT_AXES["passages"]]
    rerank: Choices = ["none"]
    rerank_depth: Positives = [DEFAULT_AXES["rerank_depth"]]
    deduplicate: Annotated[list[bool], BeforeValidator(_listed), Field(min_length=1)] = [False]
    order: Annotated[list[Literal["best_first", "best_last"]], *_Values] = ["best_first"]
    compress: Choices = ["none"]
    context_tokens: Positives = [DEFAULT_AXES["context_tokens"]]
    concurrency: Annotated[list[Annotated[int, Field(ge=1, le=64, strict=True)]], *_Values] = [1]


class Goal(_Strict):
    """What decides: the metric, how much worse than the best is acceptable, the bars, and what is to be small."""

    metric: str = "token_f1"
    margin: Annotated[Number, Field(ge=0, le=1)] = 0.05
    floor: Annotated[Number, Field(ge=0, le=1)] | None = None
    confidence: Annotated[Number, Field(gt=0.5, lt=1)] = 0.95
    reference: Annotated[str | dict[str, Any], BeforeValidator(_reference)] = "best"
    minimise: Literal["joules", "tokens", "seconds", "dollars", "grams_co2e"] = "joules"
    limits: dict[Literal["p50_seconds", "p95_seconds"], Annotated[Number, Field(gt=0)]] = {}


class Budget(_Strict):
    """Where a run stops by itself, to be resumed; ``None`` is no bound."""

    minutes: Annotated[Number, Field(gt=0)] | None = None
    watt_hours: Annotated[Number, Field(gt=0)] | None = None
    tokens: Positive | None = None
    calls: Positive | None = None
    dollars: Annotated[Number, Field(gt=0)] | None = None


class Selection(_Strict):
    """Which questions: a split (``all`` for every one), and how many of its seeded order."""

    split: str = "dev"
    limit: Positive | None = None


class Confirmation(_Strict):
    """What a race's pick is confirmed on: a split that the race never asks, all of it or so many of its seeded order.

    ``tries`` says beforehand how many different claims may be made on that split: the first of two has 0.8 of the error
    that the goal allows, the second 0.2.
    """

    split: str = "test"
    limit: Positive | None = None
    tries: Literal[1, 2] = 1


class Experiment(_Strict):
    """Everything a run needs, as the experiment file says it."""

    corpus: DataSource
    evalset: DataSource
    questions: Selection = Selection()
    metrics: Choices = ["token_f1", "exact_match", "contains", "recall@5", "ndcg@10"]
    goal: Goal = Goal()
    strategy: Choice = "race"
    confirm: Annotated[Confirmation | None, BeforeValidator(_confirmation)] = Confirmation()
    meter: Choice = "auto"
    budget: Budget = Budget()
    repeats: Annotated[int, Field(ge=1, le=100, strict=True)] = 1
    region: Region = WORLD
    timeout_seconds: Annotated[Number, Field(gt=0)] = 60.0
    retries: Annotated[int, Field(ge=0, le=20, strict=True)] = 3
    seed: Annotated[int, Field(strict=True)] = 7
    space: Space = Space()
    name: str = ""

    @field_validator("metrics")
    @classmethod
    def _each_once(cls, value: list[Any]) -> list[Any]:
        return list({plugin_label(choice): choice for choice in value}.values())

    @property
    def metric_names(self) -> list[str]:
        """The names under which scores are stored, in the order they are shown."""
        return [plugin_label(choice) for choice in self.metrics]


def read_experiment(source: str | Path | Mapping[str, Any]) -> Experiment:
    """An experiment from a file, from the name of a shipped or project one, or from a mapping.

    Raises ``InputError`` naming for every problem the file, the key path, the value and what is allowed.
    """
    if isinstance(source, Mapping):
        return _validate(dict(source), "experiment", "")
    path = find_experiment(source)
    content = _read_yaml(path)
    for key in ("corpus", "evalset"):
        given = content.get(key)
        value = given.get("path") if isinstance(given, dict) else given
        if isinstance(value, str) and value and not _exists(Path(value)) and _exists(path.parent / value):
            beside = str(path.parent / value)
            content[key] = {**given, "path": beside} if isinstance(given, dict) else beside
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
    problems: list[str] = []
    if "space" in content:
        content = {**content, "space": _with_preset(content["space"], file, problems)}
    named = {**content, "name": content.get("name") or name or digest(repr(content))[:8]}
    experiment = None
    try:
        experiment = Experiment.model_validate(named)
    except ValidationError as error:
        problems += [_sentence(file, detail) for detail in error.errors()]
    problems += [f"{file}: {problem}" for problem in _unknown_plugins(content)]
    if problems or experiment is None:
        raise InputError(problems)
    if experiment.goal.metric not in experiment.metric_names:
        experiment = experiment.model_copy(update={"metrics": [experiment.goal.metric, *experiment.metrics]})
    return experiment


def presets() -> list[str]:
    """Spaces that ship under a name, to be used whole (``space: small``) or changed (``space: {preset: small, …}``)."""
    return sorted(path.stem for path in _PRESETS.glob("*.yaml"))


def _with_preset(space: Any, file: str, problems: list[str]) -> Any:
    """The space with its preset's axes filled in; an axis that stands beside the preset replaces the preset's."""
    name = space if isinstance(space, str) else space.get("preset") if isinstance(space, dict) else None
    if name is None:
        return space
    own = {key: value for key, value in space.items() if key != "preset"} if isinstance(space, dict) else {}
    if name not in presets():
        problems.append(f"{file}: space.preset is {name!r}; expected one of {', '.join(presets())}")
        return own
    return {**_read_yaml(_PRESETS / f"{name}.yaml"), **own}


def _unknown_plugins(content: dict[Any, Any]) -> list[str]:
    space = content.get("space")
    space = space if isinstance(space, dict) else {}
    problems: list[str] = []
    for axis, kind in KIND_OF_AXIS.items():
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
        found = _problem_of("goal.metric", "metrics", goal["metric"])
        if not found and isinstance(goal["metric"], str) and (counted := registry.unit(goal["metric"])):
            found = [f"goal.metric is {goal['metric']!r}, which counts {counted}; expected a metric from 0 to 1"]
        problems += found
    problems += _problem_of("meter", "meters", content.get("meter", "auto"))
    return problems + _problem_of("strategy", "strategies", content.get("strategy", "race"))


def _problem_of(path: str, kind: str, choice: Any) -> list[str]:
    try:
        _choice(choice)
    except PydanticCustomError:
        return []  # its type is reported already
    try:
        registry.check(kind, choice)
        if kind == "metrics" and (at := plugin_name(choice).partition("@"))[1]:
            cutoff(at[0], at[2])
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


def changed_budget(budget: Budget, changes: Mapping[str, Any]) -> Budget:
    """The budget with some bounds changed (``None``: no bound), validated like the file's."""
    try:
        return Budget.model_validate({**budget.model_dump(), **changes})
    except ValidationError as error:
        details = ({**detail, "loc": ("budget", *detail["loc"])} for detail in error.errors())
        raise InputError([_sentence("run", cast(ErrorDetails, detail)) for detail in details]) from error


def one_point(axes: Mapping[str, Any], file: str) -> Space:
    """The space of a single point, for files that hold one configuration."""
    try:
        return Space.model_validate({axis: [value] for axis, value in axes.items()})
    except ValidationError as error:
        raise InputError([_sentence(file, detail) for detail in error.errors()]) from error
