"""What --set and --teacher bring: the most special one serves, a mistake is answered in one line."""

from __future__ import annotations

import pytest

from harness.core.errors import BoardError
from harness.planning.supplies import Supplies

FACTS = {"dataset": "cifar100", "network": "convnet", "ipc": "ipc10"}


def found(*sets: str, name: str = "rded", **facts: str) -> str | None:
    supply = Supplies.parse(sets).find("set", name, FACTS | facts)
    return None if supply is None else supply.place({**FACTS, **facts, "ipc": "10"})


def test_a_path_serves_the_sets_of_its_name() -> None:
    assert found("rded=/data/rded") == "/data/rded"
    assert found("sre2l=/data") is None


def test_qualifiers_limit_a_path_and_the_most_special_one_serves() -> None:
    given = ("rded=/any", "rded/cifar100=/cifar", "rded/cifar100/convnet=/both", "rded/resnet18=/other")
    assert found(*given) == "/both"
    assert found(*given, network="mlp") == "/cifar"
    assert found(*given, dataset="digits", network="resnet18") == "/other"
    assert found(*given, dataset="digits", network="mlp") == "/any"
    assert found("rded/ipc50=/fifty") is None
    assert found("rded/ipc10=/ten") == "/ten"


def test_a_path_may_hold_what_differs() -> None:
    assert found("rded=/x/{dataset}_{network}/ipc{ipc}") == "/x/cifar100_convnet/ipc10"


def test_a_path_may_hold_an_equals_sign_and_a_later_one_replaces_an_earlier() -> None:
    assert found("rded=/a=b") == "/a=b"
    assert found("rded=/first", "rded=/second") == "/second"


def test_a_teacher_needs_no_name() -> None:
    supplies = Supplies.parse((), ("/any.pth", "convnet3/cifar100=/special.pth"))
    special = supplies.find("teacher", "convnet3", {"dataset": "cifar100"})
    other = supplies.find("teacher", "resnet18", {"dataset": "cifar100"})
    assert special is not None and special.path == "/special.pth"
    assert other is not None and other.path == "/any.pth"


def test_a_teacher_of_timms_is_called_as_boards_call_it() -> None:
    supplies = Supplies.parse((), ("timm/resnet18=/any.pth", "timm/resnet18/cifar100=/special.pth"))
    special = supplies.find("teacher", "timm/resnet18", {"dataset": "cifar100"})
    other = supplies.find("teacher", "timm/resnet18", {"dataset": "cifar10"})
    assert special is not None and special.path == "/special.pth"
    assert other is not None and other.path == "/any.pth"
    assert supplies.find("teacher", "timm/resnet34", {"dataset": "cifar10"}) is None


@pytest.mark.parametrize("path", ["/runs/lr=0.1/net (best).pth", "./lr=0.1.pth", "../a=b/c.pth", "~/a=b.pth"])
def test_a_path_alone_may_have_an_equals_sign_in_it(path: str) -> None:
    supply = Supplies.parse((), (path,)).find("teacher", "convnet3", {"dataset": "cifar10"})
    assert supply is not None and supply.path == path


def test_what_served_nothing_is_known() -> None:
    supplies = Supplies.parse(("rded=/a", "rded/tiny-imagenet=/b"))
    supplies.find("set", "rded", FACTS)
    assert supplies.unused() == ["rded/tiny-imagenet=/b"]


@pytest.mark.parametrize("text", ["rded", "=PATH", "rded=", "/x=PATH"])
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(BoardError, match="write it as NAME=PATH"):
        Supplies.parse((text,))


def test_an_unknown_field_of_a_path_is_refused() -> None:
    with pytest.raises(BoardError, match=r"\{model\} is no field of a path; valid: \{dataset\}"):
        Supplies.parse(("rded=/x/{model}",))


def test_a_name_that_the_board_does_not_wait_for_is_refused() -> None:
    with pytest.raises(BoardError, match="no set 'rdde' to supply; did you mean 'rded'"):
        Supplies.parse(("rdde=/x",)).check(["rded", "sre2l"])
    with pytest.raises(BoardError, match="its sets are all made or named by the board itself"):
        Supplies.parse(("rded=/x",)).check([])
