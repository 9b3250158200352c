"""What a pass is."""

from __future__ import annotations

import dataclasses
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Self, dataclass_transform

from ocompress.ir import Facet, Model
from ocompress.pipeline import options
from ocompress.pipeline.options import OptionSpec

if TYPE_CHECKING:
    from ocompress.analysis.statistics import Observers
    from ocompress.pipeline.context import Context


class Numerics(StrEnum):
    """How the outputs of a model may differ after a pass."""

    EXACT = "exact"
    """Bit for bit the same."""
    ROUNDING = "rounding"
    """The same up to the rounding of reordered float arithmetic."""
    LOSSY = "lossy"
    """Different within the budget the user allows."""


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What a pass did. It must be truthful: fixpoints, caches and reports believe it.

    Attributes:
        changed: The facets that were changed; `Facet.NONE` if the model is as it was.
        counts: How often what was done, for the report (`{"folded": 3}`).
        details: More for the report, JSON-able (a table per layer, a choice and its reasons).
    """

    changed: Facet = Facet.NONE
    counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether anything changed."""
        return self.changed is not Facet.NONE


# No field specifier: type checkers then take every assigned option for one with a default.
@dataclass_transform(frozen_default=True, kw_only_default=True)
class Pass(ABC):
    """One rewrite of a model: a small immutable value whose fields are its options.

    Subclasses become frozen keyword-only dataclasses by themselves. The docstring says what the
    graph looks like before and after, what is left alone with which code, and the numerics; the
    manual is made from it.
    """

    name: ClassVar[str]
    """Kebab-case name, the same word as the class and the file."""
    numerics: ClassVar[Numerics] = Numerics.EXACT
    may_change: ClassVar[Facet] = Facet.ALL
    """Upper bound of what `run` reports as changed; the manager checks it."""
    reads: ClassVar[Facet] = Facet.ALL & ~Facet.METADATA
    """Facets that decide what `run` does; a family runs a member again when one changed."""
    after: ClassVar[tuple[str, ...]] = ()
    """Passes that must not come later in a pipeline than this one."""
    internal: ClassVar[bool] = False
    """Whether the pass is a part of a family, listed below it."""
    needs_data: ClassVar[bool] = False
    """Whether `run` reads calibration data."""
    needs_packages: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Packages that `run` imports and that need not be there, each with how it is installed."""
    makes_integers: ClassVar[bool] = False
    """Whether layers compute in integers after it, so that passes before it go by such times."""
    minds_integers: ClassVar[bool] = False
    """Whether what the pass chooses depends on whether a later pass makes integers."""
    weights_of: ClassVar[tuple[str, ...]] = ()
    """Standard operators whose weights the pass works on, and about which it speaks itself. Where
    there are some, every other node whose large constants stay as they are is named (no-rule)."""
    goals: ClassVar[tuple[str, ...]] = ()
    """Options that say how far the pass shall go, where they are not at their default; without
    any the budget does."""
    recovers: ClassVar[bool] = False
    """Whether the pass makes good what passes before it lost. Those that were given a goal are
    judged together with it."""
    sets_aside: ClassVar[bool] = False
    """Whether the pass chooses by samples that neither it nor a pass before it was fitted to: a
    part of the data is put aside for it before the pipeline begins."""
    appetite: ClassVar[float] = 1.0
    """Share of a limit on the drop that the pass can make use of, beside others'."""
    saves_time: ClassVar[bool] = True
    """Whether a model has to be faster for what a lossy pass does; if not, it has to be smaller,
    at least where weights are coded."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Turn the subclass into a frozen, keyword-only dataclass."""
        super().__init_subclass__(**kwargs)
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)

    def __post_init__(self) -> None:
        """Check ranges and choices."""
        options.check(type(self).name, self.options(), self)

    @abstractmethod
    def run(self, model: Model, ctx: Context) -> Outcome:
        """Change `model` in place and say what was done.

        The manager clones and rolls back; a pass never needs to.
        """

    @property
    def accepts_slower(self) -> bool:
        """Whether its options say that the result may be slower, as the user may for all passes."""
        return bool(getattr(self, "keep_slower", False))

    @property
    def keeps_weights(self) -> bool:
        """Whether weights keep what an archive finds in them: levels, signs, sums of cosines."""
        return self.numerics is not Numerics.LOSSY

    def preview(self, model: Model, ctx: Context) -> Outcome:
        """Say in little time what `run` would do, for a survey of all passes.

        A pass that fits, searches or tries overrides this: it counts what it would take up, says
        what it would leave alone and why, and reads no more of the data than one sample. The
        default runs the pass; it is given no data then unless it needs some.
        """
        return self.run(model, ctx)

    def observers(self, model: Model) -> Observers:
        """Say which activation statistics `run` will ask for, so that passes share one sweep."""
        return {}

    @classmethod
    def missing_packages(cls) -> dict[str, str]:
        """Return those of `needs_packages` that are not installed."""
        is_there = importlib.util.find_spec
        return {name: how for name, how in cls.needs_packages if is_there(name) is None}

    def lowest_opset(self) -> int:
        """Return the opset that `run` needs to do its work, 0 if any will do.

        A pipeline that says nothing about `canonicalize` has it bring models there.
        """
        return 0

    def domains(self) -> frozenset[str]:
        """Return the operator domains beside the standard one that `run` may bring into a model."""
        return frozenset()

    @classmethod
    def options(cls) -> list[OptionSpec]:
        """Return the options, in order of declaration."""
        return options.specs(cls)

    @classmethod
    def from_options(cls, given: Mapping[str, Any]) -> Self:
        """Make a pass from texts or TOML values.

        Raises:
            OptionError: For an unknown option or a bad value.
        """
        return cls(**options.coerce(cls.name, cls.options(), given))

    @property
    def goals_given(self) -> tuple[str, ...]:
        """The `goals` that are not at their default."""
        defaults = {spec.name: spec.default for spec in self.options()}
        return tuple(name for name in self.goals if getattr(self, name) != defaults[name])

    @property
    def has_goal(self) -> bool:
        """Whether an option says how far the pass shall go, so that no limit has to."""
        return bool(self.goals_given)

    def settings(self) -> dict[str, Any]:
        """Return every option with its present value."""
        return {spec.name: getattr(self, spec.name) for spec in self.options()}

    def __str__(self) -> str:
        """Return the text form, with the options that differ from their defaults."""
        from ocompress.pipeline.textform import format_pass  # cycle: the text form needs passes

        return format_pass(self)


class Family(Pass):
    """A pass made of others, run in order until none of them changes anything.

    An option of the family is handed to every member that declares an option of that name.
    """

    members: ClassVar[tuple[str, ...]] = ()
    most_rounds: ClassVar[int] = 20

    def parts(self) -> list[Pass]:
        """Return the members, with the options that the family hands on."""
        from ocompress.pipeline.registry import find  # cycle: the registry checks for passes

        given = self.settings()
        classes = [find(name) for name in self.members]
        return [
            cls(**{spec.name: given[spec.name] for spec in cls.options() if spec.name in given})
            for cls in classes
        ]

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Run the members to a fixpoint.

        Raises:
            PassError: If the members still change the model after `most_rounds` rounds.
        """
        return ctx.run_members(self, model)
