"""What reports for people hold, and in which order; Markdown and HTML write the same parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from ocompress.auto import Plan
from ocompress.pipeline import choices_of
from ocompress.profiling import ProfileResult
from ocompress.report import (
    tables,
    tables_coded,
    tables_device,
    tables_plan,
    tables_profile,
    tables_validation,
)
from ocompress.report.optimization import Optimization
from ocompress.report.parts import Figures, Heading, Note, facts
from ocompress.report.tables_choices import explained
from ocompress.report.tables_outcome import before_and_after, closing, quality
from ocompress.report.tables_remarks import grouped
from ocompress.validation import DeviceValidation, ValidationResult

_FEW = 4
"""Figures that can all be headlines."""

Parts = Iterator[RenderableType]


def optimization(done: Optimization, asked: Mapping[str, Any], failures: Sequence[str]) -> Parts:
    """Return the page of an optimization.

    Args:
        done: The record.
        asked: The settings.
        failures: Why it is not a success, one sentence each.
    """
    yield closing(done, failures)
    yield before_and_after(done)
    yield from tables.notes(done)
    yield from _asked(asked)
    yield from _measured(done.validation, done.profile)
    if done.plan is not None:
        yield from tables_plan.plan(done.plan, every=True)
    yield Heading("Passes")
    yield tables.passes(done)
    yield from tables.tried(done)
    yield from explained(choices_of(done.pipeline))
    said = list(tables.remarks(done))
    for record in done.pipeline.records:
        yield Heading(record.name)
        yield tables.one_pass(done, record)
        yield from tables.layers(record, every=True)
        for speaker, remarks in said:
            if speaker is record:
                yield Heading(f"{record.name}, node by node", 3)
                yield from grouped(remarks)
    for speaker, remarks in said:
        if speaker is None:
            yield Heading("Other remarks")
            yield from grouped(remarks, named=True)
    if done.coded is not None and done.coded.tensors:
        yield Heading("Where the bytes of an archive are")
        yield tables_coded.tensors(done.coded)
    yield from _proof(done.validation)


def plan(found: Plan, asked: Mapping[str, Any]) -> Parts:
    """Return the page of a plan.

    Args:
        found: The plan.
        asked: The settings.
    """
    yield tables_plan.closing(found, None)
    for sentence in found.remarks:
        yield Note(sentence)
    yield from tables_plan.plan(found, every=True)
    yield from explained(found.choices)
    yield from _asked(asked)
    yield Heading("Recipe")
    yield Text(found.recipe())


def optimization_summary(done: Optimization, failures: Sequence[str]) -> Parts:
    """Return the few lines about an optimization that the page of a job has room for.

    Args:
        done: The record.
        failures: Why it is not a success, one sentence each.
    """
    yield closing(done, failures)
    yield before_and_after(done)
    yield tables.passes(done)
    yield from tables.tried(done)
    yield from tables.notes(done)


def validation_summary(found: ValidationResult) -> Parts:
    """Return the few lines about a validation that the page of a job has room for."""
    yield tables_validation.closing(found)
    yield from _close(found)
    if found.gate:
        yield tables_validation.checks(replace(found, structure=()), every=True)
    yield from tables_validation.notes(found)


def validation(found: ValidationResult, asked: Mapping[str, Any]) -> Parts:
    """Return the page of a validation."""
    yield tables_validation.closing(found)
    yield from _close(found)
    yield from tables_validation.notes(found)
    yield from _asked(asked)
    yield from _measured(found, None)
    yield from _proof(found)


def device_validation(found: DeviceValidation, asked: Mapping[str, Any]) -> Parts:
    """Return the page of a validation on another machine."""
    here = found.validation
    yield tables_validation.closing(here)
    yield from _close(here)
    yield from tables_device.notes(found)
    yield from tables_validation.notes(here)
    yield from _asked(asked)
    yield Heading("Where it was measured")
    yield facts([_compared(here), *tables_device.where(found)])
    yield from _proof(here)
    yield Heading("There and here")
    yield from tables_device.machines(found)


def profile(found: ProfileResult, asked: Mapping[str, Any]) -> Parts:
    """Return the page of a profile."""
    yield tables_profile.figures(found)
    yield from tables_profile.notes(found)
    yield from _asked(asked)
    yield from _measured(None, found)
    for title, shares in (("operator", found.model.by_op), ("layer", found.model.by_layer)):
        if shares:
            yield Heading(f"Time by {title}")
            yield tables_profile.shares(title, shares)


def _asked(settings: Mapping[str, Any]) -> Parts:
    yield Heading("What was asked")
    yield tables.settings(settings)


def _measured(found: ValidationResult | None, timed: ProfileResult | None) -> Parts:
    pairs = [_compared(found)] if found is not None else []
    pairs += tables_profile.where(timed) if timed is not None else ()
    grid = facts(pairs)
    if grid.rows:
        yield Heading("Where it was measured")
        yield grid


def _compared(found: ValidationResult) -> tuple[str, str]:
    return "compared on", tables_validation.compared_on(found)


def _close(found: ValidationResult) -> Parts:
    """Return how close the candidate is, at the first level."""
    rows = [figure for level in found.levels[:1] for figure in quality(level)]
    if len(rows) <= _FEW:
        rows = [replace(figure, headline=True) for figure in rows]
    if rows:
        yield Figures(tuple(rows), heads=("reference", "candidate", "ratio or drop"))


def _proof(found: ValidationResult) -> Parts:
    yield Heading("Checks")
    yield tables_validation.checks(found, every=True)
    if found.levels:
        yield Heading("Outputs")
        yield from tables_validation.outputs(found)
        yield from tables_validation.worst(found)
