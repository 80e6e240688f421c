"""What a gate found, as rows for people, as plain data, and as JUnit XML for the service that runs the build."""

from __future__ import annotations

from dataclasses import asdict
from math import isfinite
from typing import Any
from xml.etree import ElementTree

from workbench.gating import Gate
from workbench.records import Configuration
from workbench.texts import NOT_MEASURED, significant

COLUMNS = ("measure", "base", "this run", "status")

_ILLEGAL_IN_XML = dict.fromkeys([*range(9), 11, 12, *range(14, 32), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF], "\ufffd")


def as_mapping(found: Gate) -> dict[str, Any]:
    """The gate as plain data, for JSON; what has no end is ``None``."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items()}
        return None if isinstance(value, float) and not isfinite(value) else value

    def named(configuration: Configuration) -> dict[str, str]:
        return {"id": configuration.id, "label": configuration.label}

    return {
        "run": found.run,
        "base": found.base,
        "status": found.status,
        "configuration": named(found.configuration),
        "base_configuration": named(found.base_configuration),
        "questions": found.questions,
        "checks": [plain(asdict(check)) for check in found.checks],
        "notes": list(found.notes),
    }


def rows(found: Gate) -> list[list[str]]:
    """One row of text per measure: its name with unit, both values, and status."""
    return [
        [
            f"{check.measure} ({check.unit})",
            NOT_MEASURED if check.base is None else significant(check.base),
            NOT_MEASURED if check.here is None else significant(check.here),
            check.status,
        ]
        for check in found.checks
    ]


def sentences(found: Gate) -> list[str]:
    """What was found, measure by measure, and the verdict."""
    said = [f"{check.measure}: {check.said}." for check in found.checks]
    return [*said, f"{found.status}: {found.run} against {found.base} on {found.questions:,} common questions"]


def junit(found: Gate, *, strict: bool = False) -> str:
    """The gate as JUnit XML: a test case per measure; what is not shown is skipped, or fails where ``strict``."""
    failing = [check for check in found.checks if check.status == "regressed" or (strict and check.status != "passed")]
    skipped = [check for check in found.checks if check.status == "not shown" and not strict]
    suite = ElementTree.Element(
        "testsuite",
        name=_xml(f"workbench gate: {found.run} against {found.base}"),
        tests=str(len(found.checks)),
        failures=str(len(failing)),
        errors="0",
        skipped=str(len(skipped)),
    )
    for check in found.checks:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=_xml(f"workbench.gate.{found.run}"),
            name=_xml(f"{check.measure} ({check.unit})"),
        )
        if check in failing:
            failure = ElementTree.SubElement(
                case, "failure", type=check.status.replace(" ", "_"), message=_xml(check.said)
            )
            failure.text = _xml(
                f"{found.configuration.label} [{found.configuration.id}] against "
                f"{found.base_configuration.label} [{found.base_configuration.id}]"
            )
        elif check in skipped:
            ElementTree.SubElement(case, "skipped", message=_xml(check.said))
        else:
            ElementTree.SubElement(case, "system-out").text = _xml(check.said)
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _xml(text: str) -> str:
    return text.translate(_ILLEGAL_IN_XML)
