"""Published checkpoints: what is found in a file, what is refused, and how a teacher made of one is tested."""

from __future__ import annotations

import json
import os
import random
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from harness import datasets, models, teachers
from harness.boards.board import TeacherSpec
from harness.core.errors import BadOption, DataError
from harness.core.spec import Spec
from harness.datasets.base import Dataset, normalise
from harness.models import Shape
from harness.planning.artefacts import Artefacts
from harness.planning.needs import find_checkpoint
from harness.planning.preparation import Workshop
from harness.teachers import checkpoints
from harness.teachers.files import TeacherFile

MODEL = "convnet2(width=8)"
SHAPE: Shape = (3, 16, 16)


def network(spec: str = MODEL, shape: Shape = SHAPE, classes: int = 5, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return models.build(spec, shape, classes)


def rded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name a two-block ConvNet's tensors as RDED does."""
    kinds = {"0": "conv.0", "1": "norm.0", "4": "conv.1", "5": "norm.1"}
    return {
        f"layers.{kinds[name.split('.')[1]]}.{name.split('.')[2]}" if name.startswith("features.") else name: tensor
        for name, tensor in state.items()
    }


def saved(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


def fitted(path: Path, spec: str = MODEL, shape: Shape = SHAPE, classes: int = 5, rows: tuple[int, ...] = ()) -> Any:
    return checkpoints.fit(path, checkpoints.read(path), network(spec, shape, classes), spec, rows)


def refusal(path: Path, *arguments: Any, **options: Any) -> str:
    """Return the one line that a file is refused with."""
    with pytest.raises(DataError) as caught:
        fitted(path, *arguments, **options)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


# -- where the weights lie -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["", "model", "state_dict", "net", "model_state_dict", "ema"])
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
        ({"epoch": 3, "acc": 60.0}, "no state dict in it (epoch, acc); expected one bare or under model, state_dict"),
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


# -- a teacher made of a checkpoint ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return datasets.load("digits")


def trained(dataset: Dataset, folder: Path, **changes: Any) -> TeacherFile:
    spec = TeacherSpec.model_validate({"model": MODEL, "epochs": 15, "augmentation": "none"} | changes)
    return teachers.train(teachers.recipes(spec, dataset)[0], dataset, folder, "cpu")


def published(file: TeacherFile, path: Path, order: list[int] | None = None) -> Path:
    """Save a teacher's weights as RDED does, perhaps with its classes in another order."""
    from safetensors.torch import load_file

    state = load_file(str(file.path))
    for name in ("classifier.weight", "classifier.bias"):
        state[name] = state[name][order or slice(None)].contiguous()
    return saved({"model": rded(state)}, path)


@pytest.fixture(scope="module")
def teacher(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> TeacherFile:
    found = trained(digits, tmp_path_factory.mktemp("trained"))
    assert found.accuracy > 85
    return found


@pytest.fixture(scope="module")
def checkpoint(teacher: TeacherFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published(teacher, tmp_path_factory.mktemp("published") / "digits_conv2.pth")


def described(path: Path, dataset: Dataset, **changes: Any) -> dict[str, Any]:
    spec = TeacherSpec.model_validate({"model": MODEL, "checkpoint": path.name} | changes)
    return teachers.checkpoint_recipe(path, spec.models[0], dataset, spec)


def converted(path: Path, dataset: Dataset, folder: Path, expect: float | None = None, **changes: Any) -> TeacherFile:
    return teachers.convert(described(path, dataset, **changes), path, dataset, folder, "cpu", expect)


def inputs(dataset: Dataset) -> Tensor:
    return normalise(dataset.test.images[:50], dataset.mean, dataset.std)


def test_a_checkpoint_as_good_as_expected_becomes_a_teacher(
    digits: Dataset, teacher: TeacherFile, checkpoint: Path, tmp_path: Path
) -> None:
    made = converted(checkpoint, digits, tmp_path, expect=teacher.accuracy + 0.9)
    assert (made.accuracy, made.model, made.digest) == (teacher.accuracy, MODEL, teacher.digest)
    assert teachers.read_header(made.path)[0] == made
    ours, theirs = (teachers.load([file], digits, "cpu").logits(inputs(digits)) for file in (made, teacher))
    assert torch.equal(ours, theirs)


def test_what_was_done_to_a_head_is_kept_with_the_teacher(digits: Dataset, teacher: TeacherFile, tmp_path: Path) -> None:
    path = published(teacher, tmp_path / "wide.pth", order=[*range(10), *range(10)])
    made = converted(path, digits, tmp_path, expect=teacher.accuracy)
    assert teachers.read_header(made.path)[0].notes == ("the first 10 of the 20 classes of its head",)


def test_a_recipe_is_json_and_names_the_bytes_the_model_the_data_and_the_normalisation(
    digits: Dataset, checkpoint: Path, tmp_path: Path
) -> None:
    found = described(checkpoint, digits)
    assert json.loads(json.dumps(found)) == found == described(checkpoint, digits, expect=50.0, tolerance=2.0, seed=3)
    assert "mean" not in found
    assert described(checkpoint, digits, mean=list(digits.mean), std=list(digits.std)) == found
    other = saved({"model": network(shape=(1, 16, 16), classes=10).state_dict()}, tmp_path / checkpoint.name)
    changed = [
        described(other, digits),
        described(checkpoint, digits, model="convnet2(width=4)"),
        described(checkpoint, digits, mean=[0.5], std=[0.5]),
        described(checkpoint, replace(digits, mean=(0.1,))),
    ]
    assert all(each != found for each in changed)


def test_a_subset_of_classes_is_part_of_the_recipe(digits: Dataset, checkpoint: Path) -> None:
    subset = replace(digits)
    object.__setattr__(subset, "class_indices", tuple(range(10, 20)))
    assert described(checkpoint, subset)["rows"] == list(range(10, 20))


@pytest.mark.parametrize(
    "changes",
    [{"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}, {"mean": [0.5], "std": [0.0]}, {"mean": [float("nan")], "std": [1.0]}],
)
def test_statistics_that_do_not_fit_the_images_are_refused(digits: Dataset, checkpoint: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(BadOption, match="mean and std must be 1 numbers each for digits"):
        described(checkpoint, digits, **changes)


def failure(path: Path, dataset: Dataset, folder: Path, expect: float, **changes: Any) -> str:
    with pytest.raises(DataError) as caught:
        converted(path, dataset, folder, expect, **changes)
    message = str(caught.value)
    assert message.startswith(f"{path}: {MODEL} reaches ")
    assert f"on the test split of {dataset.name}" in message
    assert f"expected {expect:g} within 1" in message
    assert "\n" not in message
    assert not list(folder.glob("teacher-*"))
    return message


def test_another_accuracy_than_expected_is_refused_with_both_numbers(
    digits: Dataset, teacher: TeacherFile, checkpoint: Path, tmp_path: Path
) -> None:
    message = failure(checkpoint, digits, tmp_path, expect=20.0)
    assert f"reaches {teacher.accuracy:.1f} %" in message
    assert "is it for this dataset, and this model?" in message


def test_a_teacher_that_was_kept_is_held_against_what_is_expected_too(
    digits: Dataset, teacher: TeacherFile, checkpoint: Path, tmp_path: Path
) -> None:
    made = converted(checkpoint, digits, tmp_path, mean=[0.9], std=[0.1])
    assert teachers.confirm(made, checkpoint, digits, "cpu", None) is made
    assert teachers.confirm(made, checkpoint, digits, "cpu", made.accuracy + 0.5) is made
    with pytest.raises(DataError, match=r"with the statistics of digits it reaches .* give teacher\.mean = \[0.3052\]") as caught:
        teachers.confirm(made, checkpoint, digits, "cpu", teacher.accuracy)
    assert str(caught.value).startswith(f"{checkpoint}: {MODEL} reaches {made.accuracy:.1f} %")


def test_a_teacher_of_minus_one_to_one_pixels_is_recognised(digits: Dataset, tmp_path: Path) -> None:
    file = trained(replace(digits, mean=(0.5,), std=(0.5,)), tmp_path / "trained")
    path = published(file, tmp_path / "net.pth")
    message = failure(path, digits, tmp_path, expect=file.accuracy)
    remedy = f"with pixels in [-1, 1] it reaches {file.accuracy:.1f} %: give teacher.mean = [0.5] and teacher.std = [0.5]"
    assert remedy in message
    made = converted(path, digits, tmp_path, expect=file.accuracy, mean=[0.5], std=[0.5])
    assert made.accuracy == file.accuracy


def test_a_teacher_of_imagenets_statistics_is_recognised(digits: Dataset, tmp_path: Path) -> None:
    def coloured(dataset: Dataset) -> Dataset:
        splits = (replace(split, images=split.images.expand(-1, 3, -1, -1)) for split in (dataset.train, dataset.test))
        return Dataset("coloured", *splits, dataset.classes, (0.1, 0.9, 0.3), (0.5, 0.2, 0.9))

    images = coloured(digits)
    authors = replace(images, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    file = trained(authors, tmp_path / "trained")
    message = failure(published(file, tmp_path / "net.pth"), images, tmp_path, expect=file.accuracy)
    assert f"with ImageNet's statistics it reaches {file.accuracy:.1f} %: give teacher.mean = [0.485, 0.456, 0.406]" in message


def test_a_teacher_of_blue_green_red_images_is_recognised(digits: Dataset, tmp_path: Path) -> None:
    def coloured(dataset: Dataset, shares: tuple[int, ...]) -> Dataset:
        parts = torch.tensor(shares, dtype=torch.int16).view(1, 3, 1, 1)
        splits = (replace(s, images=(s.images.short() // parts).to(torch.uint8)) for s in (dataset.train, dataset.test))
        return Dataset("coloured", *splits, dataset.classes, (0.1, 0.1, 0.1), (0.3, 0.3, 0.3))

    file = trained(coloured(digits, (1, 4, 50)), tmp_path / "trained")
    message = failure(published(file, tmp_path / "net.pth"), coloured(digits, (50, 4, 1)), tmp_path, expect=file.accuracy)
    assert f"with blue, green, red images it reaches {file.accuracy:.1f} %" in message


def test_a_teacher_whose_classes_are_numbered_otherwise_is_recognised(
    digits: Dataset, teacher: TeacherFile, tmp_path: Path
) -> None:
    path = published(teacher, tmp_path / "net.pth", order=[3, 0, 1, 2, 4, 5, 9, 8, 7, 6])
    message = failure(path, digits, tmp_path, expect=teacher.accuracy)
    assert f"with its classes in another order it reaches {teacher.accuracy:.1f} %" in message
    assert "give teacher.mean" not in message


def test_a_board_takes_a_checkpoint_that_lies_beside_it_and_holds_it_against_what_it_expects(
    tiny: Any, teacher: TeacherFile, checkpoint: Path, tmp_path: Path
) -> None:
    def files(**expected: float) -> list[TeacherFile]:
        board = tiny(model=MODEL, teacher={"model": MODEL, "checkpoint": checkpoint.name} | expected)
        shop = Workshop(board, "board.toml", Artefacts(tmp_path / "artefacts", tmp_path), device="cpu", folder=checkpoint.parent)
        return shop.teacher_files()

    assert [(file.digest, file.accuracy) for file in files()] == [(teacher.digest, teacher.accuracy)]
    assert files(expect=teacher.accuracy) == files()
    with pytest.raises(DataError, match=f"board.toml: teacher: {checkpoint}: .* reaches .* expected 50 within 1"):
        files(expect=50.0)


# -- normalisation ---------------------------------------------------------------------------------------------------------


def test_a_teacher_of_other_statistics_sees_images_as_its_authors_do(digits: Dataset, checkpoint: Path, tmp_path: Path) -> None:
    mean, std = (0.2,), (0.7,)
    made = converted(checkpoint, digits, tmp_path, mean=list(mean), std=list(std))
    assert made.recipe["mean"] == [0.2]
    plain = network(shape=(1, 16, 16), classes=10).eval()
    plain.load_state_dict(fitted(checkpoint, shape=(1, 16, 16), classes=10).state)
    with torch.no_grad():
        theirs = plain(normalise(digits.test.images[:50], mean, std))
    loaded = teachers.load([made], digits, "cpu")
    assert torch.allclose(loaded.logits(inputs(digits)), theirs, atol=1e-4)
    features = loaded.features(inputs(digits))
    assert torch.allclose(plain.classifier(features), theirs, atol=1e-4)
    assert not loaded.networks[0].training


def test_the_statistics_are_part_of_a_teachers_digest(digits: Dataset, checkpoint: Path, tmp_path: Path) -> None:
    first = converted(checkpoint, digits, tmp_path)
    second = converted(checkpoint, digits, tmp_path, mean=[0.2], std=[0.7])
    assert first.digest != second.digest
    both = teachers.load([first, second], digits, "cpu")
    alone = [teachers.load([file], digits, "cpu").logits(inputs(digits)) for file in (first, second)]
    assert torch.allclose(both.logits(inputs(digits)), sum(alone) / 2, atol=1e-5)
    assert not torch.allclose(*alone, atol=1e-2)


@pytest.mark.parametrize("board", ["continual-strategies", "rded-choices"])
def test_teachers_that_boards_carry_keep_their_digests(digits: Dataset, board: str) -> None:
    paths = list((Path(__file__).parents[2] / "leaderboards" / board / "artefacts").glob("teacher-*.safetensors"))
    assert paths
    for path in paths:
        file = teachers.read_header(path)[0]
        assert teachers.load([file], digits, "cpu").digests == (file.digest,)
        assert file.path.stem == f"teacher-{file.digest[:20]}"


# -- ensembles -------------------------------------------------------------------------------------------------------------


class Given(nn.Module):
    """Answers with the same logits whatever it is shown."""

    def __init__(self, logits: list[list[float]]) -> None:
        super().__init__()
        self.register_buffer("logits", torch.tensor(logits))

    def forward(self, images: Tensor) -> Tensor:
        return self.logits


def ensemble(average: Any) -> teachers.Teacher:
    networks = Given([[3.0, 0.0], [0.0, 4.0]]), Given([[0.0, 0.0], [15.0, 0.0]])  # norms 5 and 15, 10 on average
    return teachers.Teacher("two", networks, ("a", "b"), (0.0, 0.0), (0.5,), (0.5,), average)


def test_logits_are_averaged_plainly_or_after_each_network_is_brought_to_the_mean_norm() -> None:
    images = torch.zeros(2, 1, 4, 4)
    assert torch.equal(ensemble("mean").logits(images), torch.tensor([[1.5, 0.0], [7.5, 2.0]]))
    assert torch.allclose(ensemble("norm").logits(images), torch.tensor([[3.0, 0.0], [5.0, 4.0]]))


def test_a_network_that_answers_zero_leaves_the_others() -> None:
    networks = Given([[3.0, 0.0], [0.0, 4.0]]), Given([[0.0, 0.0], [0.0, 0.0]])
    found = teachers.Teacher("two", networks, ("a", "b"), (0.0, 0.0), (0.5,), (0.5,), "norm").logits(torch.zeros(2, 1, 4, 4))
    assert torch.allclose(found, torch.tensor([[0.75, 0.0], [0.0, 1.0]]))


def file_of(digest: str) -> TeacherFile:
    return TeacherFile(Path(), digest, MODEL, 0.0, {})


def test_how_an_ensemble_is_averaged_is_part_of_what_a_trial_says() -> None:
    files = [file_of("a"), file_of("b")]
    plain, norm = teachers.trial_digests(files, "mean"), teachers.trial_digests(files, "norm")
    assert plain == ("a", "b")
    assert norm != plain
    assert teachers.from_trial(plain) == (("a", "b"), "mean")
    assert teachers.from_trial(norm) == (("a", "b"), "norm")
    assert teachers.trial_digests(files[:1], "norm") == ("a",)  # of one network both are the same
    assert teachers.from_trial(()) == ((), "mean")


def test_trials_of_ensembles_averaged_otherwise_are_not_the_same(plan: Any) -> None:
    two = {"models": ["convnet1(width=8)", "convnet1(width=4)"], "epochs": 1}
    plain, norm = (plan(teacher=two | {"average": average}, losses=["gift"]) for average in ("mean", "norm"))
    assert {trial.id for trial in plain}.isdisjoint({trial.id for trial in norm})


def test_torchvisions_weights_on_a_thousand_classes_serve_a_subset(digits: Dataset, tmp_path: Path) -> None:
    path = saved(torchvision.models.resnet18().state_dict(), tmp_path / "imagenet-1k_resnet18.pth")
    images = replace(digits.test, images=digits.test.images[:30].expand(-1, 3, -1, -1), labels=digits.test.labels[:30])
    subset = Dataset("imagenette", images, images, digits.classes, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    object.__setattr__(subset, "class_indices", (0, 217, 482, 491, 497, 566, 569, 571, 574, 701))
    spec = TeacherSpec(models=(Spec(name="resnet18"),))
    recipe = teachers.checkpoint_recipe(path, spec.models[0], subset, spec)
    made = teachers.convert(recipe, path, subset, tmp_path, "cpu")
    assert made.notes == ("10 of the 1000 classes of its head",)
