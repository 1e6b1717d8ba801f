"""Teachers: trained once and kept by content, or made of published weights; the logits of several are averaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.core.lazy import exports

if TYPE_CHECKING:
    from harness.teachers.blueprint import blueprints, code_of
    from harness.teachers.files import TeacherFile, from_trial, read_header, save, trial_digests
    from harness.teachers.published import checkpoint_blueprint, confirm, convert
    from harness.teachers.teacher import Teacher, load, train

__all__ = [
    "Teacher",
    "TeacherFile",
    "blueprints",
    "checkpoint_blueprint",
    "code_of",
    "confirm",
    "convert",
    "from_trial",
    "load",
    "read_header",
    "save",
    "train",
    "trial_digests",
]

_HOMES = {
    "harness.teachers.files": ("TeacherFile", "from_trial", "read_header", "save", "trial_digests"),
    "harness.teachers.published": ("checkpoint_blueprint", "confirm", "convert"),
    "harness.teachers.blueprint": ("code_of", "blueprints"),
    "harness.teachers.teacher": ("Teacher", "load", "train"),
}
__getattr__ = exports(__name__, {name: f"{home}:{name}" for home, names in _HOMES.items() for name in names})
