"""A GPU's arithmetic is set while the harness computes, and put back. Torch's settings can be set and read without a GPU."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness import losses, optimizers
from harness.core.errors import DataError
from harness.losses.targets import Targets
from harness.training import evaluation, graphs, loop
from harness.training.devices import WORKSPACE, arithmetic, autocast, deterministic
from harness.training.evaluation import evaluate
from harness.training.graphs import Captured
from harness.training.loop import fit
from harness.training.values import Material, Member, Recipe

BACKENDS: Any = torch.backends
NAMES = {
    "search": (BACKENDS.cudnn, "benchmark"),
    "repeat": (BACKENDS.cudnn, "deterministic"),
    "old products": (BACKENDS.cuda.matmul, "allow_tf32"),
    "old convolutions": (BACKENDS.cudnn, "allow_tf32"),
    "products": (BACKENDS.cuda.matmul, "fp32_precision"),
    "convolutions": (BACKENDS.cudnn.conv, "fp32_precision"),
    "recurrent layers": (BACKENDS.cudnn.rnn, "fp32_precision"),
    "all on a GPU": (BACKENDS.cudnn, "fp32_precision"),
    "all": (BACKENDS, "fp32_precision"),
    "products on the CPU": (BACKENDS.mkldnn.matmul, "fp32_precision"),
}
OLD = ("old products", "old convolutions", "old words")


def settings() -> dict[str, object]:
    """Return torch's settings by name; None of one that torch does not answer for."""

    def answer(ask: Callable[[], object]) -> object:
        try:
            return ask()
        except RuntimeError:
            return None

    values = {name: answer(lambda owner=owner, word=word: getattr(owner, word)) for name, (owner, word) in NAMES.items()}
    return values | {"old words": answer(torch.get_float32_matmul_precision)}


def change(name: str, value: object) -> None:
    if name == "old words":
        torch.set_float32_matmul_precision(value)  # type: ignore[arg-type]
    else:
        owner, word = NAMES[name]
        setattr(owner, word, value)


@pytest.fixture(autouse=True)
def as_torch_comes() -> Iterator[None]:
    """Begin with torch's defaults, and leave them behind: newer names first, for the older set these too."""

    def reset() -> None:
        for name in ("all", "all on a GPU", "products", "convolutions", "recurrent layers", "products on the CPU"):
            change(name, "none")
        change("old words", "highest")
        change("old convolutions", True)
        change("products", "none")
        change("products on the CPU", "none")
        change("search", False)
        change("repeat", False)

    reset()
    yield
    reset()


USERS: list[dict[str, object]] = [
    {},
    {"old products": True},
    {"old products": False, "old convolutions": False},
    {"old words": "medium"},
    {"old words": "high", "search": True},
    {"products": "tf32"},
    {"convolutions": "ieee"},
    {"recurrent layers": "ieee", "repeat": True},
    {"all": "tf32"},
    {"all": "ieee"},
    {"all on a GPU": "ieee"},
    {"all": "tf32", "products": "ieee"},
]
every_user = pytest.mark.parametrize("user", USERS, ids=lambda user: ", ".join(f"{k}: {v}" for k, v in user.items()) or "default")


@every_user
@pytest.mark.parametrize("precision", ["float32", "bf16", "tf32"])
def test_a_gpu_computes_as_the_precision_says_whatever_was_set(user: dict[str, object], precision: Any) -> None:
    for name, value in user.items():
        change(name, value)
    with arithmetic("cuda:0", precision):
        inside = settings()
    tf32 = precision == "tf32"
    assert {inside[name] for name in ("products", "convolutions", "recurrent layers")} == {"tf32" if tf32 else "ieee"}
    assert (inside["old products"], inside["old convolutions"]) == (tf32, tf32)  # which other people's code asks for
    assert (inside["search"], inside["repeat"]) == (False, True)


@every_user
@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_everything_is_put_back_however_it_ends(user: dict[str, object], precision: Any) -> None:
    for name, value in user.items():
        change(name, value)
    before = settings()
    with arithmetic("cuda", precision):
        pass
    with pytest.raises(RuntimeError, match="planted"), arithmetic("cuda", precision), arithmetic("cuda", "bf16"):
        raise RuntimeError("planted")
    after = settings()
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= {name for name in OLD if before[name] is None}  # torch may answer now, by what the newer names say


def test_a_precision_set_for_all_kernels_still_goes_for_all_afterwards() -> None:
    change("all", "tf32")
    with arithmetic("cuda", "float32"):
        pass
    change("all", "ieee")
    assert settings()["products"] == "ieee"


def test_on_the_cpu_nothing_is_set_and_tf32_is_refused() -> None:
    change("search", True)
    before = settings()
    with arithmetic("cpu", "bf16"):
        assert settings() == before
    with pytest.raises(DataError, match=re.escape("precision tf32 is a GPU's; take float32 or bf16 on the CPU")):
        arithmetic("cpu", "tf32").__enter__()
    autocast(torch.device("cpu"), "float32")
    assert settings() == before


# -- who computes in it ---------------------------------------------------------------------------------------------------------

MATERIAL = Material.on_device("cpu", torch.randn(8, 1, 4, 4), torch.arange(8) % 2)
RECIPE = Recipe(1, 4, optimizers.resolve("sgd"), optimizers.schedules.resolve("constant"), "none", "bf16")


class Watched:
    """Stands for `arithmetic` in a module: notes with what it was entered, and whether it is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
        self.entered: list[tuple[str, str]] = []
        self.depth = 0
        monkeypatch.setattr(module, "arithmetic", self)

    @contextmanager
    def __call__(self, device: Any, precision: str) -> Iterator[None]:
        self.entered.append((str(device), precision))
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1


def student() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 2))


def test_a_training_is_made_in_the_recipes_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    watched, depths = Watched(monkeypatch, loop), []

    def loss(logits: Tensor, targets: Targets) -> Tensor:
        depths.append(watched.depth)
        return nn.functional.cross_entropy(logits, targets.labels())

    fit(student(), MATERIAL, loss, RECIPE, seed=0)
    assert (watched.entered, depths, watched.depth) == ([("cpu", "bf16")], [1, 1], 0)


def test_a_student_is_tested_in_the_precision_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    watched, depths = Watched(monkeypatch, evaluation), []
    network = student()
    network.register_forward_hook(lambda *_: depths.append(watched.depth))
    evaluate(network, MATERIAL, "bf16")
    assert (watched.entered, depths, watched.depth) == ([("cpu", "bf16")], [1], 0)


def test_steps_are_captured_in_the_recipes_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    watched, depths = Watched(monkeypatch, graphs), []

    def record(step: Callable[[], None], streams: object) -> Callable[[], None]:
        depths.append(watched.depth)
        return step

    members = [Member(student(), losses.create("ce"), 0)]
    Captured(members, MATERIAL, RECIPE, None, record)
    assert (watched.entered, depths, watched.depth) == ([("cpu", "bf16")], [1], 0)


@pytest.mark.parametrize("stated", ["", ":16:8"])
@pytest.mark.parametrize("held", [(False, False), (True, False), (True, True)])
def test_torch_is_held_to_operations_that_repeat_themselves_and_put_back_however_it_ends(
    monkeypatch: pytest.MonkeyPatch, stated: str, held: tuple[bool, bool]
) -> None:
    monkeypatch.setenv(WORKSPACE, stated) if stated else monkeypatch.delenv(WORKSPACE, raising=False)

    def now() -> tuple[bool, bool, str | None]:
        lenient = torch.is_deterministic_algorithms_warn_only_enabled()
        return torch.are_deterministic_algorithms_enabled(), lenient, os.environ.get(WORKSPACE)

    before = now()
    try:
        torch.use_deterministic_algorithms(held[0], warn_only=held[1])
        for error in (None, ValueError):
            with pytest.raises(error) if error else nullcontext(), deterministic():
                assert now() == (True, True, stated or ":4096:8")
                if error:
                    raise error
            assert now() == (*held, stated or None)
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
