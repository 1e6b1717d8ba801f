"""`giftbench list`: what can be named."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Giftbench


def test_a_kind_is_listed_alone_and_all_by_default(giftbench: Giftbench) -> None:
    losses = giftbench("list", "losses").out
    assert "gift" in losses
    assert "convnet3" not in losses
    assert {"losses:", "models:", "protocols:"} <= set(giftbench("list").out.splitlines())


def test_what_a_plugin_brings_is_listed_with_its_file(giftbench: Giftbench, tmp_path: Path) -> None:
    from harness import losses

    plugin = tmp_path / "mine.py"
    plugin.write_text("from harness import losses\n\n\n@losses.register('listed')\ndef listed(logits, targets):\n    return 0\n")
    try:
        assert "mine.py" in next(
            line for line in giftbench("list", "losses", "--plugin", plugin).out.splitlines() if "listed" in line
        )
    finally:
        losses.registry.remove("listed")
