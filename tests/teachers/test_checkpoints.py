"""Published checkpoints: what is found in a file, what is refused, and how a teacher made of one is tested."""

from __future__ import annotations

import os
import random
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from harness import models
from harness.core.errors import DataError
from harness.models import Shape
from harness.planning.needs import find_checkpoint
from harness.teachers import checkpoints
from tests.teachers.publishing import MODEL, SHAPE, fitted, network, rded, saved


def refusal(path: Path, *arguments: Any, **options: Any) -> str:
    """Return the one line that a file is refused with."""
    with pytest.raises(DataError) as caught:
        fitted(path, *arguments, **options)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


# -- where the weights lie -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["", *checkpoints.PLACES])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "model."])
def test_the_state_dict_is_found_wherever_authors_put_it(tmp_path: Path, place: str, prefix: str) -> None:
    state = network().state_dict()
    named = {prefix + name: tensor for name, tensor in state.items()}
    path = saved({place: named, "epoch": 3, "best": 61.3} if place else named, tmp_path / "net.pth")
    found = fitted(path).state
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_the_trained_weights_are_preferred_to_the_averaged_ones(tmp_path: Path) -> None:
    trained, averaged = network(seed=0).state_dict(), network(seed=1).state_dict()
    content = {"model_ema": {"n_averaged": torch.tensor(5), **{f"module.{n}": t for n, t in averaged.items()}}, "model": trained}
    assert torch.equal(fitted(saved(content, tmp_path / "a.pth")).state["classifier.bias"], trained["classifier.bias"])
    del content["model"]
    assert torch.equal(fitted(saved(content, tmp_path / "b.pth")).state["classifier.bias"], averaged["classifier.bias"])


def test_a_state_dict_within_two_others_is_found(tmp_path: Path) -> None:
    assert fitted(saved({"state_dict": {"model": network().state_dict()}}, tmp_path / "net.pth")).state


def test_counters_of_batch_norm_may_be_absent(tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in network().state_dict().items() if not name.endswith("num_batches_tracked")}
    found = fitted(saved(state, tmp_path / "old.pth")).state
    network().load_state_dict(found)


def test_weights_of_half_precision_become_float32(tmp_path: Path) -> None:
    state = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in network().state_dict().items()}
    found = fitted(saved(state, tmp_path / "half.pth")).state
    assert found["classifier.weight"].dtype == torch.float32


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_checkpoint_of_either_format_and_a_later_pickle_protocol_is_read(tmp_path: Path, protocol: int, zipped: bool) -> None:
    state = network().state_dict()
    content = {"state_dict": state, "epoch": 3}
    torch.save(content, tmp_path / "four.pth", pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    assert torch.equal(fitted(tmp_path / "four.pth").state["classifier.bias"], state["classifier.bias"])


def test_safetensors_are_read_too(tmp_path: Path) -> None:
    state = network().state_dict()
    save_file(state, str(tmp_path / "net.safetensors"))
    assert torch.equal(fitted(tmp_path / "net.safetensors").state["classifier.bias"], state["classifier.bias"])
    (tmp_path / "net.safetensors").write_bytes(b"\xff" * 100)
    assert "not a safetensors file" in refusal(tmp_path / "net.safetensors")


def test_a_model_behind_a_resize_is_found_under_its_own_names(tmp_path: Path) -> None:
    spec, shape = "timm/test_vit2", (3, 50, 50)
    wrapped = network(spec, shape)
    path = saved(wrapped.model.state_dict(), tmp_path / "net.pth")
    wrapped.load_state_dict(fitted(path, spec, shape).state)


# -- what is refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            {"epoch": 3, "acc": 60.0},
            "no state dict in it (epoch, acc); expected one bare or under model, state_dict, net, model_state_dict, network, "
            "teacher, model_ema, state_dict_ema, ema",
        ),
        ({}, "no state dict in it (empty)"),
        ([torch.zeros(2, 2)], "no state dict in it (list)"),
        ({"model": {"bias": torch.zeros(3)}}, "no state dict"),
        ({"conv\nweight": torch.zeros(3, 3)}, r"a tensor is named 'conv\nweight', as no layer is"),
    ],
)
def test_a_file_without_weights_is_refused(tmp_path: Path, content: Any, words: str) -> None:
    assert words in refusal(saved(content, tmp_path / "net.pth"))


def test_a_namespace_beside_the_weights_does_no_harm(tmp_path: Path) -> None:
    content = {"model": network().state_dict(), "args": Namespace(lr=0.1, data=["a"], nested=Namespace(x=1))}
    assert fitted(saved(content, tmp_path / "checkpoint.pth")).state


class Harmful:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_runs_something_is_refused_and_does_not_run(tmp_path: Path) -> None:
    path = saved({"model": network().state_dict(), "args": Harmful(tmp_path / "made")}, tmp_path / "net.pth")
    refusal(path)
    assert not (tmp_path / "made").exists()


def test_a_network_saved_whole_is_refused(tmp_path: Path) -> None:
    refusal(saved(network(), tmp_path / "net.pth"))


def test_a_name_that_is_missing_or_too_many_is_said(tmp_path: Path) -> None:
    state = network().state_dict()
    del state["features.1.weight"]
    state["features.9.weight"] = torch.zeros(3)
    words = refusal(saved(state, tmp_path / "net.pth"))
    assert "does not fit convnet2(width=8): it has no features.1.weight, and it has features.9.weight too many" in words


@pytest.mark.parametrize(
    ("theirs", "shape", "spec", "words"),
    [
        ("convnet2(width=16)", SHAPE, MODEL, "[16, 3, 3, 3], convnet2(width=8) has [8, 3, 3, 3] there; wrong model name?"),
        ("convnet3(width=8)", SHAPE, MODEL, "wrong model name? It looks like convnet3(width=8)"),
        ("convnet2(width=8, norm=instance)", SHAPE, MODEL, "wrong norm? It looks like convnet2(width=8, norm=instance)"),
        ("convnet2(width=8, norm='none')", SHAPE, MODEL, "wrong norm? It looks like convnet2(width=8, norm='none')"),
        (MODEL, SHAPE, "convnet2(width=8, norm=instance)", "wrong norm? It looks like convnet2(width=8)"),
        (MODEL, (3, 32, 32), MODEL, "classifier.weight is [5, 512], convnet2(width=8) has [5, 128] there; wrong image size?"),
        (MODEL, (1, 16, 16), MODEL, "was it trained on images of 1 channels?"),
        ("resnet18", SHAPE, "resnet18-modified", "conv1.weight is [64, 3, 7, 7]"),
        ("resnet18", SHAPE, "resnet18-modified", "It looks like resnet18"),
        ("resnet18-modified", SHAPE, "resnet18", "It looks like resnet18-modified"),
        ("wrn-16-2", SHAPE, "resnet18", "It looks like wrn-16-2"),
    ],
)
def test_a_shape_that_does_not_fit_is_said_with_a_guess(tmp_path: Path, theirs: str, shape: Shape, spec: str, words: str) -> None:
    assert words in refusal(saved(network(theirs, shape).state_dict(), tmp_path / "net.pth"), spec)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    state = network().state_dict()
    state["features.4.weight"][0, 0, 0, 0] = value
    assert "features.4.weight has values that are not finite" in refusal(saved(state, tmp_path / "net.pth"))


def test_whole_numbers_are_no_weights(tmp_path: Path) -> None:
    state = network().state_dict()
    state["classifier.bias"] = state["classifier.bias"].long()
    assert "classifier.bias is torch.int64" in refusal(saved(state, tmp_path / "net.pth"))


@pytest.mark.parametrize("spec", [MODEL, "resnet18-modified", "shufflenet-v2-x0.5-modified", "efficientnet-b0"])
def test_a_state_with_damage_anywhere_fits_or_is_refused_in_one_line(spec: str) -> None:
    with torch.device("meta"):
        ours = models.build(spec, SHAPE, 5)
    whole = {name: torch.zeros(tensor.shape, dtype=tensor.dtype) for name, tensor in ours.state_dict().items()}
    if spec == MODEL:
        whole = rded(whole)
    chance = random.Random(0)
    damages: list[Any] = [
        lambda tensor: tensor.reshape(-1),
        lambda tensor: torch.tensor(1.0),
        lambda tensor: tensor[None],
        lambda tensor: torch.zeros(0),
        lambda tensor: torch.zeros(chance.randint(0, 9), chance.randint(0, 9)),
        lambda tensor: tensor.to(torch.complex64),
    ]
    for _ in range(60):
        state, name = dict(whole), chance.choice(list(whole))
        damaged = chance.choice(damages)(state.pop(name))
        if chance.random() < 0.8:
            state[name if chance.random() < 0.7 else f"layers.conv.{chance.randint(0, 99)}.weight"] = damaged
        try:
            found = checkpoints.fit(Path("net.pth"), state, ours, spec).state
        except DataError as error:
            assert str(error).startswith("net.pth: ")
            assert "\n" not in str(error)
        else:
            assert found.keys() == ours.state_dict().keys()


# -- the head --------------------------------------------------------------------------------------------------------------


def test_a_head_of_a_thousand_classes_is_cut_to_the_first_ones_as_rded_does(tmp_path: Path) -> None:
    state = network(classes=1000).state_dict()
    found = fitted(saved({"model": rded(state)}, tmp_path / "net.pth"))
    assert torch.equal(found.state["classifier.weight"], state["classifier.weight"][:5])
    assert torch.equal(found.state["classifier.bias"], state["classifier.bias"][:5])
    assert found.notes == ("the first 5 of the 1000 classes of its head",)


def test_a_subset_of_classes_takes_its_rows_by_index(tmp_path: Path) -> None:
    state = network("resnet18", classes=1000).state_dict()
    rows = (0, 217, 482, 491, 701)
    found = fitted(saved(state, tmp_path / "net.pth"), "resnet18", rows=rows)
    assert torch.equal(found.state["fc.weight"], state["fc.weight"][list(rows)])
    assert found.notes == ("5 of the 1000 classes of its head",)


def test_a_head_of_the_subset_itself_is_taken_as_it_is(tmp_path: Path) -> None:
    found = fitted(saved(network().state_dict(), tmp_path / "net.pth"), rows=(0, 217, 482, 491, 701))
    assert found.notes == ()


def test_a_head_of_fewer_classes_is_refused(tmp_path: Path) -> None:
    words = refusal(saved(network(classes=3).state_dict(), tmp_path / "net.pth"))
    assert words == "classifier.weight is [3, 128], for 3 classes where the dataset has 5"


def test_classes_that_a_head_does_not_have_are_refused(tmp_path: Path) -> None:
    refusal(saved(network(classes=10).state_dict(), tmp_path / "net.pth"), rows=(1, 2, 3, 4, 10))


# -- finding files ---------------------------------------------------------------------------------------------------------


def test_the_first_name_that_any_folder_has_is_taken(tmp_path: Path) -> None:
    board, data = tmp_path / "board", tmp_path / "data"
    for path in (board, data / "teachers"):
        path.mkdir(parents=True)
    folders = [board, data, data / "teachers", data / "pretrain_models"]
    names = ["cifar10_conv3.pth", "CIFAR-10/ConvNet/squeeze_ConvNet.pth"]
    assert find_checkpoint(names, folders) is None
    nested = data / "teachers" / names[1]
    nested.parent.mkdir(parents=True)
    nested.touch()
    assert find_checkpoint(names, folders) == nested
    (data / "teachers" / names[0]).touch()
    assert find_checkpoint(names, folders) == data / "teachers" / names[0]
    (board / names[0]).touch()
    assert find_checkpoint(names, folders) == board / names[0]
    assert find_checkpoint([str(nested)], folders) == nested


@pytest.mark.parametrize("spec", ["convnet2(width=8, padding=2)", "convnet2(width=8)"])
def test_a_parameter_that_no_shape_tells_of_is_no_other_network(tmp_path: Path, spec: str) -> None:
    """The image is too large; that the network has a padding of its own is not what is wrong with it."""
    path = saved(network().state_dict(), tmp_path / "net.pth")
    with pytest.raises(DataError, match="wrong image size") as caught:
        fitted(path, spec, shape=(3, 32, 32))
    assert "looks like" not in str(caught.value)


@pytest.mark.parametrize(("windows", "said"), [("shrink", "windows=shrink: "), ("pad", "windows=pad: ")])
def test_a_swin_says_what_becomes_of_its_windows_where_torchvisions_weights_are_loaded(
    tmp_path: Path, windows: str, said: str
) -> None:
    """At 64 px timm's network and torchvision's compute something else with the same weights; at 256 px they do not."""
    path = saved(torchvision.models.swin_v2_t(weights=None, num_classes=5).state_dict(), tmp_path / "swin.pth")
    spec = f"swin-v2-tiny(windows={windows})"
    (note,) = fitted(path, spec, (3, 64, 64)).notes
    assert note.startswith(said) and "torchvision" in note
    assert fitted(path, spec, (3, 256, 256)).notes == ()
