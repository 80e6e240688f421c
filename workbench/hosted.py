"""Joules per token of models that run on other machines: a prefill term from physics, decoding from a fit, EcoLogits beside it.

Everything is at the level of the servers (IT); cooling, the data centre's PUE, is multiplied once, by the footprint. The
numbers come from ``tables/hosted.csv`` with their sources. Linear in tokens: what attention adds over long prompts (about
7 % at 4,000 tokens, half at 32,000 for a model of 8 billion parameters) is left out.
"""

from __future__ import annotations

import csv
import importlib
import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import TypeAdapter

from workbench import registry
from workbench.errors import InputError
from workbench.records import HostedCoefficients, PluginChoice, Triple, plugin_name

SIZES = "model_sizes.csv"
"""A project's own table of models' sizes: columns model, active_billion, total_billion."""

_TABLES = Path(__file__).parent / "tables"
_INCLUDES = "GPUs with their share of the server, modelled; cooling and idle capacity excluded"
_REFERENCE_TOKENS = 300  # of output, over which EcoLogits' time to the first token is spread
_JOULES_PER_KWH = 3.6e6
_DISAGREEMENT = 2.0
_REGIONS = ("us-gov.", "us.", "eu.", "apac.", "jp.", "au.", "global.")  # Bedrock's inference profiles
_GIVEN: dict[str, TypeAdapter[Any]] = {
    "active_billion": TypeAdapter(float | None),
    "total_billion": TypeAdapter(float | None),
    "batch": TypeAdapter(bool),
}  # what a choice may say of a model's energy, as the plugin's own parameters read it
_OLLAMA_PORT = 11434
_ADDRESSES = {
    "ollama": ("OLLAMA_HOST", f"127.0.0.1:{_OLLAMA_PORT}"),
    "openai": ("OPENAI_API_BASE", ""),
}  # where a provider's library looks for its server's address, and what it takes without one
_ASK = "give active_billion and total_billion, its parameters in billions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A model's parameters in billions, and who says so; equal for a dense model. EcoLogits may know only a range."""

    active: tuple[float, float]
    total: tuple[float, float]
    source: str
    tokens_per_second: float | None = None
    seconds_to_first_token: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Alias:
    provider: str
    model: str
    note: str


def known_as(
    name: str, *, active_billion: float | None = None, total_billion: float | None = None, batch: bool = False
) -> str:
    """The name under which a hosted model's tokens are booked: its own, and what a choice says of its energy.

    Raises ``InputError`` for sizes that no model has.
    """
    _check_size(name, active_billion, total_billion)
    parts = [f"{active_billion:g} of {total_billion:g} billion"] if active_billion and total_billion else []
    parts += ["batch"] if batch else []
    return f"{name} ({', '.join(parts)})" if parts else name


def embedder_known_as(name: str, *, active_billion: float | None = None) -> str:
    """The name under which the tokens of hosted embeddings are booked."""
    return known_as(f"embedder {name}", active_billion=active_billion, total_billion=active_billion)


def local_port(name: str, base_url: str | None = None) -> int | None:
    """The port of the server that answers for a model, where it is on this machine; ``None`` for one elsewhere.

    Its address is ``base_url``, else what its library takes from the environment, else Ollama's usual one.
    """
    provider = name.removeprefix("embedder ").partition(":")[0]
    variable, usual = _ADDRESSES.get(provider, ("", ""))
    address = base_url or os.environ.get(variable) or usual
    parts = urlsplit(address if "//" in address else f"//{address}")
    try:
        port, host = parts.port, parts.hostname or ""
        named = ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return None
    if not (named.is_loopback or named.is_unspecified):
        return None
    return port or (_OLLAMA_PORT if provider == "ollama" else 443 if parts.scheme == "https" else 80)


def _check_size(name: str, active: float | None, total: float | None) -> None:
    if (active is None) != (total is None):
        raise InputError(f"{name}: active_billion and total_billion go together; a dense model has the same for both")
    if active is not None and total is not None and not (0 < active <= total < math.inf):
        raise InputError(
            f"{name}: active_billion is {active:g} and total_billion {total:g}; expected 0 < active_billion ≤ total_billion"
        )


def hosted_coefficients(
    model: str, *, active_billion: float | None = None, total_billion: float | None = None, batch: bool = False
) -> HostedCoefficients | None:
    """Joules per token of a hosted model by its LangChain name; ``None`` where its size is not known.

    The size is the caller's, else that of ``model_sizes.csv`` in the current folder, else EcoLogits' (the middle of its
    range, by ratio). ``batch`` stands for a provider's batch mode. Per token of the prompt: ``2 × active parameters ×
    joules per FLOP × system factor``; of the output: ``exp(intercept) × active^a × total^b × batch^c × system factor``.
    """
    known_as(model, active_billion=active_billion, total_billion=total_billion)
    alias = _alias(model)
    size = _size(model, active_billion, total_billion, alias)
    if size is None:
        return None
    active, total = _middle(size.active), _middle(size.total)
    read, cached = _reading(active)
    written = _writing(active, total, numbers("batch_mode_factor")[1] if batch else 1.0)
    beside = _ecologits_says(size, alias.provider if alias else "")
    says: tuple[float, float] | None = beside.get("joules")
    notes = [alias.note] if alias and alias.note else []
    if batch:
        notes.append("batch mode is assumed to answer four times as many requests at once")
    if "gpt-oss" in model:
        notes.append("its weights have 4 bits, which the fit does not know: measured energy is about half the estimate")
    usual = _writing(active, total, 1.0)[1]
    if says is not None and not 1 / _DISAGREEMENT <= _middle(says) / usual <= _DISAGREEMENT:
        notes.append(
            f"EcoLogits alone says {says[0]:.3g} to {says[1]:.3g} J per output token, over {_DISAGREEMENT:g}× from {usual:.3g}"
        )
    return HostedCoefficients(
        model=model,
        joules_per_prompt_token=read,
        joules_per_cached_token=cached,
        joules_per_output_token=written,
        active_billion=active,
        total_billion=total,
        ecologits_joules_per_output_token=says,
        embodied_grams_per_output_token=beside.get("embodied"),
        water_litres_per_output_token=beside.get("water"),
        source=f"parameters: {size.source}; energy per token: tables/hosted.csv",
        includes=_INCLUDES,
        libraries={"ecologits": version("ecologits")} if beside or "EcoLogits" in size.source else {},
        notes=tuple(notes),
    )


def hosted_embedder(name: str, *, active_billion: float | None = None) -> HostedCoefficients | None:
    """Joules per token of hosted embeddings, which are read and not written; ``None`` where their size is not given."""
    embedder_known_as(name, active_billion=active_billion)
    size = _size(name, active_billion, active_billion, None)
    if size is None:
        return None
    active = _middle(size.active)
    read, cached = _reading(active)
    return HostedCoefficients(
        model=name,
        joules_per_prompt_token=read,
        joules_per_cached_token=cached,
        joules_per_output_token=(0.0, 0.0, 0.0),
        active_billion=active,
        total_billion=_middle(size.total),
        source=f"parameters: {size.source}; energy per token: tables/hosted.csv",
        includes=_INCLUDES,
        notes=("tokens are counted by OpenAI's o200k table: providers' libraries tell none",),
    )


def of_choices(
    content: Mapping[str, Any], ports: Collection[int] = ()
) -> tuple[dict[str, HostedCoefficients], dict[str, str]]:
    """The coefficients of every hosted model and embedder that an experiment or configuration names, by the name that
    readings give them; and of those that cannot be estimated, why.

    Servers on this machine that listen on one of ``ports`` have a clock that the meter reads: nothing of them is hosted.
    """
    found: dict[str, HostedCoefficients] = {}
    unknown: dict[str, str] = {}
    for kind, choice in _choices(content, ""):
        file, rest = registry.resolve(f"{kind}s", choice)
        if file != "langchain" or rest is None:
            continue
        port = local_port(rest, choice.get("base_url") if isinstance(choice, dict) else None)
        if port in ports:
            continue
        wanted = _GIVEN if kind == "model" else {"active_billion"}
        given: dict[str, Any] = (
            {key: _GIVEN[key].validate_python(choice[key]) for key in wanted if key in choice}
            if isinstance(choice, dict)
            else {}
        )
        name = known_as(rest, **given) if kind == "model" else embedder_known_as(rest, **given)
        known = hosted_coefficients(rest, **given) if kind == "model" else hosted_embedder(rest, **given)
        if known is None:
            unknown[name] = why_not(rest, kind, port)
        else:
            found[name] = known
    return found, unknown


def why_not(model: str, kind: str = "model", port: int | None = None) -> str:
    """Why a hosted model or embedder cannot be estimated, and what to do; ``port`` is that of a server on this machine."""
    if port is not None:
        return (
            "not estimated: its server on this machine is not metered; write meter: "
            f"{{name: auto, server_port: {port}}}, or {_ASK}"
        )
    if kind == "embedder":
        return "not estimated: its size is not published; give active_billion, its parameters in billions"
    if _alias(model) is not None and _library() is None:
        return f"not estimated: pip install 'rag-workbench[energy]' brings known models' sizes, or {_ASK}"
    return f"not estimated: its size is not known; {_ASK}"


def _choices(node: Any, key: str) -> Iterator[tuple[str, PluginChoice]]:
    """Every choice of a model or an embedder in an experiment, however deep, as (model or embedder, choice)."""
    if key in ("model", "embedder"):
        for each in node if isinstance(node, list | tuple) else [node]:
            if isinstance(each, str) or (isinstance(each, Mapping) and "name" in each):
                choice = each if isinstance(each, str) else dict(each)
                if plugin_name(choice):
                    yield key, choice
    if isinstance(node, Mapping):
        for inner, value in node.items():
            yield from _choices(value, inner)
    elif isinstance(node, list | tuple):
        for value in node:
            if not isinstance(value, str):
                yield from _choices(value, "")


# ------------------------------------------------------------------------------------------------------ joules per token


def _reading(active: float) -> tuple[Triple, Triple]:
    """Joules per token of the prompt, and of one that is cached; ``active`` parameters in billions."""
    flops = 2 * active * 1e9
    energy, system, share = numbers("joules_per_flop"), numbers("system_factor"), numbers("cached_share")
    low, central, high = (flops * each * factor for each, factor in zip(energy, system, strict=True))
    return (low, central, high), (low * share[0], central * share[1], high * share[2])


def _writing(active: float, total: float, crowd: float) -> Triple:
    """Joules per output token; the batch is ``crowd`` times as large as usual."""
    low, central, high = (
        decoding_joules(active, total, batch * crowd) * factor
        for batch, factor in zip(numbers("batch"), numbers("system_factor"), strict=True)
    )
    return low, central, high


def decoding_joules(active: float, total: float, batch: float) -> float:
    """Joules of all GPUs per output token, by the fit to measurements; parameters in billions."""
    intercept, of_active, of_total, of_batch = (
        numbers(f"decode_{name}")[1] for name in ("intercept", "active_exponent", "total_exponent", "batch_exponent")
    )
    return float(math.exp(intercept) * active**of_active * total**of_total * batch**of_batch)


def _middle(bounds: Sequence[float]) -> float:
    return math.sqrt(bounds[0] * bounds[1])


def numbers(name: str) -> Triple:
    """A row of ``tables/hosted.csv``: low, central, high."""
    return _table()[name]


@cache
def _table() -> dict[str, Triple]:
    with (_TABLES / "hosted.csv").open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        return {row["name"]: (float(row["low"]), float(row["central"]), float(row["high"])) for row in rows}


# ------------------------------------------------------------------------------------------------------ sizes of models


def _size(model: str, active: float | None, total: float | None, alias: _Alias | None) -> Size | None:
    if active is not None and total is not None:
        return Size(active=(active, active), total=(total, total), source="given with the model")
    return _project_size(model, Path(SIZES)) or (None if alias is None else _ecologits_size(alias))


def _project_size(model: str, path: Path) -> Size | None:
    """What the project's own table says of a model; every wrong line of it is an error."""
    if not path.exists():
        return None
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    found, problems = None, []
    for line, row in enumerate(rows, 2):
        try:
            active, total = float(row["active_billion"]), float(row["total_billion"])
            _check_size(row["model"], active, total)
        except (KeyError, TypeError, ValueError):
            problems.append(f"{path}:{line}: expected the columns model, active_billion, total_billion with numbers")
            continue
        except InputError as error:
            problems.append(f"{path}:{line}: {error}")
            continue
        if row["model"] == model:
            found = Size(active=(active, active), total=(total, total), source=str(path))
    if problems:
        raise InputError(problems)
    return found


@cache
def _library() -> Any:
    """EcoLogits' calculation, or ``None`` where the extra is not installed."""
    try:
        return importlib.import_module("ecologits.tracers.utils")
    except ModuleNotFoundError:
        return None


def _ecologits_size(alias: _Alias) -> Size | None:
    library = _library()
    found = None if library is None else library.models.find_model(provider=alias.provider, model_name=alias.model)
    if found is None:
        return None
    parameters = found.architecture.parameters
    active, total = getattr(parameters, "active", parameters), getattr(parameters, "total", parameters)
    return Size(
        active=_bounds(active),
        total=_bounds(total),
        source=f"EcoLogits {version('ecologits')} on {alias.provider}'s {alias.model}",
        tokens_per_second=found.deployment.tps if found.deployment else None,
        seconds_to_first_token=found.deployment.ttft if found.deployment else None,
    )


def _ecologits_says(size: Size, provider: str) -> dict[str, tuple[float, float]]:
    """EcoLogits' own figures per output token, low and high: joules of the servers, grams embodied, litres of water."""
    library = _library()
    if library is None:
        return {}
    place = library.PROVIDER_CONFIG_MAP.get(provider)
    mix = library.electricity_mixes.find_electricity_mix(zone=place.datacenter_location if place else "WOR")
    active, total = (library.RangeValue(min=low, max=high) for low, high in (size.active, size.total))

    def impacts(pue: Any) -> Any:
        return library.compute_llm_impacts(
            model_active_parameter_count=active,
            model_total_parameter_count=total,
            output_token_count=_REFERENCE_TOKENS,
            if_electricity_mix_adpe=mix.adpe,
            if_electricity_mix_pe=mix.pe,
            if_electricity_mix_gwp=mix.gwp,
            if_electricity_mix_wue=mix.wue,
            datacenter_pue=pue,
            datacenter_wue=place.datacenter_wue if place else 0.0,
            tps=size.tokens_per_second,
            ttft=size.seconds_to_first_token,
        )

    at_servers = impacts(1.0)
    found = {
        "joules": _each(at_servers.energy.value, _JOULES_PER_KWH),
        "embodied": _each(at_servers.embodied.gwp.value, 1000.0),
    }
    if place is not None:
        found["water"] = _each(impacts(place.datacenter_pue).usage.wcf.value, 1.0)
    return found


def _each(value: Any, factor: float) -> tuple[float, float]:
    low, high = _bounds(value)
    return low * factor / _REFERENCE_TOKENS, high * factor / _REFERENCE_TOKENS


def _bounds(value: Any) -> tuple[float, float]:
    """A number or one of EcoLogits' ranges, as low and high."""
    return float(getattr(value, "min", value)), float(getattr(value, "max", value))


# -------------------------------------------------------------------------------------------------------------- aliases


def _alias(model: str) -> _Alias | None:
    """Whom EcoLogits knows a LangChain name as: the first row that matches and that it has, else the first that matches."""
    route, _, rest = model.partition(":")
    if route in ("bedrock", "bedrock_converse"):
        route = "bedrock"
        for region in _REGIONS:
            rest = rest.removeprefix(region)
    found = [alias for row in _alias_rows() if (alias := _match(row, f"{route}:{rest}")) is not None]
    known = [alias for alias in found if _ecologits_size(alias) is not None]
    return next(iter(known or found), None)


def _match(row: Mapping[str, str], name: str) -> _Alias | None:
    before, star, after = row["name"].partition("*")
    if not star:
        return _Alias(provider=row["provider"], model=row["model"], note=row["note"]) if row["name"] == name else None
    if len(name) <= len(before) + len(after) or not (name.startswith(before) and name.endswith(after)):
        return None
    middle = name[len(before) : len(name) - len(after)]
    return _Alias(provider=row["provider"], model=row["model"].replace("*", middle), note=row["note"])


@cache
def _alias_rows() -> tuple[dict[str, str], ...]:
    with (_TABLES / "model_aliases.csv").open(newline="", encoding="utf-8") as file:
        return tuple(csv.DictReader(file))
