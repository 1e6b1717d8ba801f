"""What `giftbench new` writes: a plugin that works as it stands, and its test."""

from __future__ import annotations

import importlib.util
import keyword
import re
from pathlib import Path

from harness.core.errors import GiftbenchError, UnknownName, WriteError, suggest
from harness.files import atomic

LOSS = '''\
"""The loss {name}, a plugin of giftbench."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import losses

if TYPE_CHECKING:
    from harness import Targets
    from torch import Tensor


# A board sets what stands after the *, as "{name}(weight=0.5)".
@losses.register("{name}")
def {stem}(logits: Tensor, targets: Targets, *, weight: float = 1.0) -> Tensor:
    """Mean squared error between the logits, times a weight.

    Args:
        logits: student outputs, [B, C].
        targets: soft labels, [B, C]; see the comments below for the other ways to ask.
        weight: what the loss is multiplied by.
    Returns: a scalar.
    Raises: MissingTargets when soft labels are absent.
    """
    # targets.logits() and targets.probabilities(temperature) are the soft labels,
    # [B, C], detached; targets.labels() are the hard ones, [B]. Each says when they
    # are missing.
    return weight * (logits - targets.logits()).square().mean()
'''

LOSS_TEST = '''\
"""The loss {name} keeps what giftbench expects of a loss."""

from pathlib import Path

from harness import plugins
from harness.testing import check_loss

plugins.load_file(Path(__file__).with_name("{stem}.py"))


def test_{stem}_conforms() -> None:
    check_loss("{name}")


def test_{stem}_conforms_with_another_weight() -> None:
    check_loss("{name}", weight=0.5)
'''

SCENARIO = '''\
"""The scenario {name}, a plugin of giftbench."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import Scenario, ScenarioOptions, scenarios

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness import Plan, Trial


@scenarios.register("{name}")
class {title}(Scenario):
    """Accuracy against the number of epochs."""

    version = 1  # raise it whenever a score would change under the same name
    columns = "epochs"  # the label that makes a table's columns; rows are losses

    class Options(ScenarioOptions):
        # What a board may say: [[scenarios]] name = "{name}", epochs = [5, 50]
        epochs: tuple[int, ...] = (2, 4)

    def trials(self, view: Plan, options: Options) -> Iterator[Trial]:
        for epochs in options.epochs:
            # A trial for every set, loss and seed of the board. What a protocol, model,
            # optimizer, … cannot say goes into options={{…}}: the trial's id rests on it.
            # The label keeps all epochs in one table, not one table a protocol.
            yield from self.vary(
                view,
                protocol={{"epochs": epochs}},
                labels={{"protocol": view.protocol.label}},
            )

    # Override run(self, trial, workbench) to do something else than train one student
    # and test it, and tables(self, records) for tables that are no rows by columns.
'''

SCENARIO_TEST = '''\
"""The scenario {name} keeps what giftbench expects of a scenario."""

from pathlib import Path

from harness import plugins
from harness.testing import check_scenario

plugins.load_file(Path(__file__).with_name("{stem}.py"))


def test_{stem}_conforms() -> None:
    # The first value of an option is what the board says; the others must change it.
    check_scenario("{name}", options={{"epochs": [[1, 2], [3]]}})
'''

#: kind: (what lists call it, the plugin, its test)
KINDS = {"loss": ("losses", LOSS, LOSS_TEST), "scenario": ("scenarios", SCENARIO, SCENARIO_TEST)}


def scaffold(kind: str, name: str, folder: Path = Path()) -> tuple[Path, Path]:
    """Write `NAME.py` and `test_NAME.py` into a folder, dashes becoming underscores, and return their paths.

    Args:
        kind: "loss" or "scenario".
        name: what boards shall call it: lower-case letters, digits, - and _, a letter first; not taken yet.
        folder: an existing folder.
    Raises: UnknownName for another kind; GiftbenchError for a name that cannot be used, or a file that is there.
    """
    if kind not in KINDS:
        raise UnknownName(f"no template for a new {kind!r}; {suggest(kind, KINDS)}")
    plural, plugin, test = KINDS[kind]
    stem = name.replace("-", "_")
    _check_name(kind, plural, name)
    if not folder.is_dir():
        raise GiftbenchError(f"--folder: no folder {folder}")
    paths = folder / f"{stem}.py", folder / f"test_{stem}.py"
    for path in paths:
        if path.exists():
            raise GiftbenchError(f"{path} is there already; choose another name or another --folder")
    if importlib.util.find_spec(stem) is not None:
        raise GiftbenchError(f"{stem}.py would hide the Python module {stem!r}; choose another name")
    words = {"name": name, "stem": stem, "title": "".join(word.capitalize() for word in stem.split("_"))}
    atomic.write(paths[0], plugin.format(**words))
    try:
        atomic.write(paths[1], test.format(**words))
    except WriteError:
        paths[0].unlink(missing_ok=True)  # a plugin comes with its test, or not at all
        raise
    return paths


def _check_name(kind: str, plural: str, name: str) -> None:
    from harness.cli.registries import registry

    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name) or keyword.iskeyword(name):
        rule = "lower-case letters, digits, - and _, a letter first, and no word of Python's own"
        raise GiftbenchError(f"a {kind} cannot be called {name!r}; use {rule}")
    if name in registry(plural):
        origin = registry(plural).describe(name).origin
        raise GiftbenchError(f"there is a {kind} {name!r} already, from {origin}; choose another name")
