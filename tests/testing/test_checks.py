"""What the checks of the kit share: a failure is an assertion, an error says where, waiting is told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from harness.testing import CheckFailed
from harness.testing.checks import expect, no_waiting, works


def test_what_fails_is_an_assertion_and_the_kit_needs_no_test_framework() -> None:
    assert issubclass(CheckFailed, AssertionError)
    program = "import sys, harness.testing; assert not {'pytest', '_pytest', 'hypothesis'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=120, check=False).returncode == 0


def test_an_error_of_a_plugin_says_where_and_one_of_the_kits_own_passes() -> None:
    with pytest.raises(CheckFailed, match=r"^loss 'x' fails at 2 x 3: ValueError: two lines$"), works("loss 'x'", "at 2 x 3"):
        raise ValueError("two\n lines")
    with pytest.raises(CheckFailed, match=r"^loss 'x' is bad$"), works("loss 'y'", "anywhere"):
        expect(False, "loss 'x'", "is bad")
    expect(True, "loss 'x'", "is bad")


@pytest.mark.parametrize(
    ("wait", "what"),
    [
        (lambda x: x.sum().item(), "item()"),
        (lambda x: x.tolist(), "tolist()"),
        (lambda x: x[x > 0], "indexing by a mask"),
        (lambda x: 1 if x.sum() > 0 else 0, "item(), or an if on a tensor"),
    ],
)
def test_what_would_make_the_host_wait_is_told(wait: Callable[[Tensor], object], what: str) -> None:
    with pytest.raises(CheckFailed, match="makes the host wait") as caught, no_waiting("loss 'x'"):
        wait(torch.ones(3))
    assert what in str(caught.value)


def test_tensor_operations_do_not_wait() -> None:
    with no_waiting("loss 'x'"):
        result = torch.where(torch.ones(3) > 0, torch.ones(3), torch.zeros(3)).clamp(max=2).sum()
    assert result == 3
