"""What ships computes what it computed when its version was written down, so that a change of values cannot keep its name."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from harness import losses
from tests import golden

KNOWN: dict[str, Any] = json.loads(golden.FILE.read_text("utf-8"))
NOW = golden.everything()


def test_all_that_ships_is_written_down_at_its_version() -> None:
    assert {key: entry["version"] for key, entry in KNOWN.items()} == {key: version for key, (version, _) in NOW.items()}
    assert {key.partition(" ")[0] for key in KNOWN} == set(golden.TOLERANCES)


@pytest.mark.parametrize("key", sorted(NOW))
def test_what_ships_gives_the_values_of_its_version(key: str) -> None:
    version, values = NOW[key]
    assert key in KNOWN, "new: write its values with `python -m tests.golden`"
    differing = golden.differing(key.partition(" ")[0], KNOWN[key]["values"], values())
    assert differing == [], f"other values under version {version}: raise it, then `python -m tests.golden` ({golden.__name__})"


def test_a_changed_loss_is_found_and_its_values_are_not_written_under_its_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = losses.registry._entries["kl"]
    original = losses.registry.get("kl")

    def changed(logits: torch.Tensor, targets: Any, *, temperature: float = 20.0, rescale: bool = False) -> Any:
        value = original(logits, targets, temperature=temperature, rescale=rescale)
        return value * (temperature / 20) ** 0.01

    file = tmp_path / "golden.json"
    file.write_text(json.dumps({"loss kl": KNOWN["loss kl"]}))
    monkeypatch.setattr(golden, "FILE", file)
    monkeypatch.setattr(golden, "everything", lambda: {"loss kl": (entry.version, lambda: golden.of_name("loss", "kl"))})
    monkeypatch.setattr(losses.registry, "_resolved", {})
    monkeypatch.setattr(entry, "thing", changed)
    before = file.read_bytes()
    assert golden.write() == 1
    assert capsys.readouterr().err.startswith("loss kl: kl(temperature=")
    assert file.read_bytes() == before
    monkeypatch.setattr(entry, "version", 2)
    assert golden.write() == 0
    assert json.loads(file.read_text())["loss kl"]["version"] == 2
    losses.registry._resolved.clear()
