"""Students: what a model is turned into before it is trained to do what it did before."""

from __future__ import annotations

from pathlib import Path

from ocompress import io
from ocompress.errors import ModelError, OptionError, PassError, UnknownPassError, UsageError
from ocompress.front.files import as_model
from ocompress.ir import Facet, Model, Value
from ocompress.pipeline import Context, Numerics, Outcome, Pass, PassManager, Pipeline, option

FORMS = {
    "separable": ("separable{{rank=1}}", "separable{{max_macs={0:g}}}"),
    "fire": ("squeeze{{max_macs=0.5 relu=true}}", "squeeze{{max_macs={0:g} relu=true}}"),
    "shuffle": ("group{{max_macs=0.5}}", "group{{max_macs={0:g}}}"),
    "split": ("split{{groups=2}}", "split{{max_macs={0:g}}}"),
    "width": ("", "prune-channels{{ratio={1:g} scope=layer}}"),
    "macs": ("", "prune-channels{{max_macs={0:g}}}"),
}
"""Passes that make a student of its teacher: without a share, and with one to keep ({1} goes)."""
_FILES = (".onnx", ".ocz", ".ort", ".pb")


class Student(Pass):
    """Take another model in place of the one there is.

    Before: y = teacher(x)
    After:  y = student(x), of the same inputs and outputs

    Leaves alone: nothing.
    Numerics: lossy.
    """

    name = "student"
    numerics = Numerics.LOSSY
    goals = ("file",)

    file: str = option("", help="The student, an ONNX file.")
    model: Model | None = None

    def domains(self) -> frozenset[str]:
        """Return the domains of the student's operators."""
        return frozenset(self.model.domains()) if self.model is not None else frozenset()

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Check that the student fits, and take it in canonical form.

        Raises:
            UsageError: If its inputs or outputs are others.
        """
        assert self.model is not None  # `students` reads the file
        _check_interface(model, self.model, self.file)
        manager = PassManager(target=ctx.target)
        try:
            model.become(manager.run(Pipeline.of([]), self.model).model)
        except PassError as error:
            msg = f"student {self.file!r} cannot be used: {error}"
            raise ModelError(msg) from error
        count = sum(1 for _ in model.nodes())
        return Outcome(Facet.ALL & ~Facet.METADATA, {"nodes of the student": count})


def students(text: str) -> list[Pass]:
    """Return the passes that make a student.

    Args:
        text: A form (`separable`), a form with the share that is kept (`width=0.5`), an ONNX file,
            or passes (`separable{rank=1},prune-channels{max_macs=0.5}`).

    Raises:
        UsageError: If it is nothing of that.
        ModelError: If the file is not a model.
    """
    name, _, share = (part.strip() for part in text.partition("="))
    if name in FORMS and "{" not in text:
        return Pipeline.items(_form(name, share, text))
    if io.is_file(text) or (Path(text).suffix.lower() in _FILES and "{" not in text):
        return [Student(file=text, model=as_model(text)[0])]
    try:
        found = Pipeline.items(text)
    except UnknownPassError as error:
        msg = (
            f"student {text!r} is none of {', '.join(FORMS)}, as in width=0.5, nor a file, "
            f"nor passes: {error}"
        )
        raise OptionError(msg) from error
    if not found:
        msg = f"student {text!r} is empty; name a form, such as separable, or an ONNX file"
        raise OptionError(msg)
    return found


def _form(name: str, share: str, text: str) -> str:
    plain, with_share = FORMS[name]
    if not share and "=" not in text and plain:
        return plain.format()
    try:
        kept = float(share)
    except ValueError:
        kept = 0.0
    if not 0 < kept < 1:
        msg = f"student {text!r}: {name} needs a share above 0 and below 1, such as {name}=0.5"
        raise OptionError(msg)
    return with_share.format(kept, 1 - kept)


def _check_interface(teacher: Model, student: Model, file: str) -> None:
    sides = {
        "input": (_asked(teacher), _asked(student)),
        "output": (teacher.graph.outputs, student.graph.outputs),
    }
    for what, (wanted, found) in sides.items():
        names, given = [v.name for v in wanted], [v.name for v in found]
        if sorted(names) != sorted(given) or (what == "output" and names != given):
            msg = (
                f"student {file!r} has the {what}s {', '.join(given) or 'none'}, but the teacher "
                f"has {', '.join(names) or 'none'}; give them the same names and order"
            )
            raise UsageError(msg)
        by_name = {v.name: v for v in found}
        for value in wanted:
            other = by_name[value.name]
            if not _fits(value, other):
                msg = (
                    f"{what} {value.name!r} of student {file!r} is {_shown(other)}, but the "
                    f"teacher's is {_shown(value)}"
                )
                raise UsageError(msg)


def _asked(model: Model) -> list[Value]:
    """Return the inputs that a caller has to give."""
    return [v for v in model.graph.inputs if v.data is None]


def _fits(one: Value, other: Value) -> bool:
    if None not in (one.dtype, other.dtype) and one.dtype is not other.dtype:
        return False
    if one.shape is None or other.shape is None:
        return True
    pairs = zip(one.shape, other.shape, strict=False)
    known = [(a, b) for a, b in pairs if isinstance(a, int) and isinstance(b, int)]
    return len(one.shape) == len(other.shape) and all(a == b for a, b in known)


def _shown(value: Value) -> str:
    dtype = "of unknown type" if value.dtype is None else value.dtype.name.lower()
    shape = "" if value.shape is None else "[" + ", ".join(str(e) for e in value.shape) + "]"
    return f"{dtype}{shape}"
