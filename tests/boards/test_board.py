"""Boards: what a file may say, and what a mistake in it is answered with."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.boards.board import Board, board_path, checked, load_board
from harness.boards.protocol import Protocol
from harness.boards.setup import Setup
from harness.boards.trial import Trial
from harness.core.errors import BoardError
from harness.core.spec import Spec
from tests.conftest import board_text

FULL = """
title = "A title"
description = "A description"
dataset = "folder:some/place(size=32)"
model = { name = "convnet3", width = 32 }
losses = ["gift", "kl(rescale)", { name = "gift", gamma = 0.2 }]
seeds = [4, 7]
plugins = ["mine.py"]

[teacher]
models = ["convnet3", "resnet18"]
epochs = 5
batch_size = 64
optimizer = "sgd"
schedule = "constant"
augmentation = "flip"
precision = "bf16"
seed = 1

[protocol]
name = "quick"
epochs = 7
batch_size = 8
optimizer = "adam(lr=0.1)"
schedule = "multistep(gamma=0.5)"
augmentation = "none"
labels = "stored"
precision = "bf16"
evaluations = 2

[[sets]]
method = "rded"
min_scale = 0.5
ipc = [1, 10]
title = "RDED"
native = "kl"
seed = 3

[[sets]]
file = "some.safetensors"

[[scenarios]]
name = "cross-architecture"
models = ["convnet3"]
losses = "ce"
seeds = 2
protocol = "smoke"
model = "resnet18"
optimizer = "sgd"
sets = "RDED"
ipc = 10

[[scenarios]]
name = "cross-optimizer"
"""


def written(folder: Path, text: str) -> Path:
    (folder / "board.toml").write_text(text)
    return folder / "board.toml"


def answer(folder: Path, text: str) -> str:
    """What a wrong board is answered with, from the file's name on."""
    with pytest.raises(BoardError) as raised:
        load_board(written(folder, text))
    message = str(raised.value)
    assert "\n" not in message
    assert message.startswith(str(folder / "board.toml"))
    return message.removeprefix(f"{folder}/")


def test_every_key_is_read(tmp_path: Path) -> None:
    board = load_board(written(tmp_path, FULL))
    assert (board.title, board.description, board.plugins) == ("A title", "A description", ("mine.py",))
    assert board.dataset == Spec(name="folder:some/place", options={"size": 32})
    assert board.model == Spec(name="convnet3", options={"width": 32})
    assert [str(loss) for loss in board.losses] == ["gift", "kl(rescale)", "gift(gamma=0.2)"]
    assert board.seeds == (4, 7)
    teacher = board.teacher
    assert [str(model) for model in teacher.models] == ["convnet3", "resnet18"]
    assert (teacher.epochs, teacher.batch_size, str(teacher.optimizer), str(teacher.schedule)) == (5, 64, "sgd", "constant")
    assert (teacher.augmentation, teacher.precision, teacher.seed) == ("flip", "bf16", 1)
    protocol = board.protocol
    assert (protocol.name, protocol.epochs, protocol.batch_size, str(protocol.optimizer)) == ("quick", 7, 8, "adam(lr=0.1)")
    assert (str(protocol.schedule), protocol.augmentation, protocol.labels) == ("multistep(gamma=0.5)", "none", "stored")
    assert (protocol.precision, protocol.evaluations) == ("bf16", 2)
    first, second = board.sets
    assert (first.method, first.options, first.ipc, first.name, first.seed) == ("rded", {"min_scale": 0.5}, (1, 10), "RDED", 3)
    assert first.native == Spec(name="kl")
    assert (second.file, second.name, second.native) == ("some.safetensors", "some", None)


def test_a_scenario_may_override_the_board_for_itself(tmp_path: Path) -> None:
    first, second = load_board(written(tmp_path, FULL)).scenarios
    assert (first.losses, first.seeds, first.model, first.optimizer) == (
        (Spec(name="ce"),),
        (0, 1),
        Spec(name="resnet18"),
        Spec(name="sgd"),
    )
    assert first.protocol == Protocol(name="smoke")
    assert (first.sets, first.ipc, first.options) == (("RDED",), (10,), {"models": ["convnet3"]})
    assert (second.losses, second.seeds, second.protocol, second.sets, second.ipc) == (None, None, None, None, None)


def test_a_short_board_takes_the_papers_defaults(tmp_path: Path) -> None:
    text = 'dataset = "digits"\nscenarios = ["cross-optimizer"]\nsets = [{ method = "random", ipc = 10 }]\n'
    board = load_board(written(tmp_path, text))
    assert (str(board.model), [str(loss) for loss in board.losses], board.seeds) == ("convnet3", ["gift"], (0, 1, 2))
    assert board.protocol == Protocol(name="paper")
    assert (board.protocol.evaluations, board.protocol.precision, board.protocol.labels) == (4, "float32", "auto")
    assert board.protocol.augmentation == "color_crop_cutout_flip_scale_rotate"


@pytest.mark.parametrize(("form", "seeds"), [("3", (0, 1, 2)), ("1", (0,)), ("[4, 7]", (4, 7)), ("[0]", (0,))])
def test_seeds_are_how_many_or_which(tmp_path: Path, form: str, seeds: tuple[int, ...]) -> None:
    assert load_board(written(tmp_path, FULL.replace("seeds = [4, 7]", f"seeds = {form}"))).seeds == seeds


@pytest.mark.parametrize(
    "form", ['"convnet3"', '["convnet3"]', '{ model = "convnet3" }', '{ models = ["convnet3"] }', '{ name = "convnet3" }']
)
def test_a_teacher_is_a_model_or_a_table(tiny: Callable[..., Board], form: str) -> None:
    import tomllib

    teacher = tomllib.loads(f"teacher = {form}")["teacher"]
    assert tiny(teacher=teacher).teacher.models == (Spec(name="convnet3"),)


@pytest.mark.parametrize(
    ("was", "becomes", "message"),
    [
        ("title =", "titel =", "titel: unknown key; did you mean 'title'?"),
        ("epochs = 7", "epohs = 7", "protocol.epohs: unknown key; did you mean 'epochs'?"),
        ("batch_size = 64", "batchsize = 64", "teacher.batchsize: unknown key; did you mean 'batch_size'?"),
        ('title = "A title"', "title = 3", "title: Input should be a valid string, not 3"),
        ("epochs = 7", 'epochs = "many"', "protocol.epochs: Input should be a valid integer, not 'many'"),
        ("epochs = 7", "epochs = 7.0", "protocol.epochs: Input should be a valid integer, not 7.0"),
        ("epochs = 7", "epochs = -1", "protocol.epochs: Input should be greater than or equal to 0, not -1"),
        ("evaluations = 2", "evaluations = 0", "protocol.evaluations: Input should be greater than 0, not 0"),
        ("ipc = [1, 10]", "ipc = [1, 0]", "sets[0].ipc[1]: Input should be greater than 0, not 0"),
        ("ipc = [1, 10]", "ipc = true", "sets[0].ipc[0]: Input should be a valid integer, not True"),
        ("ipc = [1, 10]\n", "", 'sets[0]: method = "rded" needs ipc = [images per class, …]'),
        ('method = "rded"\n', "", 'sets[0]: needs method = "…" (a distiller), file = "….safetensors" or format = "…" (a reader)'),
        (
            'file = "some.safetensors"',
            'file = "a"\ntitel = "b"',
            "sets[1]: unknown key 'titel'; a file takes title, classes, native, ipc and protocol",
        ),
        ("seeds = [4, 7]", "seeds = [18446744073709551616]", "seeds[0]: Input should be less than 9223372036854775808, not 184"),
        ("seeds = [4, 7]", "seeds = [9223372036854775808]", "seeds[0]: Input should be less than 9223372036854775808, not 922"),
        ("seeds = [4, 7]", "seeds = 300000000", "seeds: 300000000 seeds; a board has at most 100000"),
        ("seed = 1\n", "seed = 9223372036854775808\n", "teacher.seed: Input should be less than 9223372036854775808"),
        ("seeds = [4, 7]", "seeds = 0", "seeds: must be how many (1 or more) or a list such as [4, 7], not 0"),
        ("seeds = [4, 7]", 'seeds = "3"', "seeds: must be how many (1 or more) or a list such as [4, 7], not '3'"),
        ("seeds = [4, 7]", "seeds = [4, -7]", "seeds[1]: Input should be greater than or equal to 0, not -7"),
        ("seeds = 2", "seeds = [1.5]", "scenarios[0].seeds[0]: Input should be a valid integer, not 1.5"),
        ('name = "quick"', 'name = "native:rdet"', "protocol: no protocol 'native:rdet'; did you mean 'native:rded'"),
        ('protocol = "smoke"', 'protocol = "neutral:sof"', "scenarios[0].protocol: no protocol 'neutral:sof'; did you mean"),
        (
            'augmentation = "none"',
            'augmentation = "flip_colour"',
            "protocol.augmentation: unknown DSA operation 'colour'; did you mean 'color'?",
        ),
        (
            'augmentation = "flip"',
            'augmentation = "flip_crob"',
            "teacher.augmentation: unknown DSA operation 'crob'; did you mean 'crop'?",
        ),
        (
            'labels = "stored"',
            'labels = "soft"',
            "protocol.labels: Input should be 'auto', 'teacher', 'fixed', 'stored' or 'hard', not 'soft'",
        ),
        (
            'precision = "bf16"\nevaluations',
            'precision = "fp16"\nevaluations',
            "protocol.precision: Input should be 'float32', 'bf16' or 'tf32', not",
        ),
        ('losses = "ce"', 'losses = "ce("', "scenarios[0].losses[0]: cannot read 'ce('"),
        ('losses = "ce"', "losses = []", "scenarios[0].losses: Value should have at least 1 item"),
        ('losses = "ce"', "losses = [{ gamma = 1 }]", "scenarios[0].losses[0]: needs a name"),
        ('model = "resnet18"', "model = 18", "scenarios[0].model: expected a name such as"),
        ('name = "cross-optimizer"', "", "scenarios[1].name: missing"),
        ('dataset = "folder:some/place(size=32)"\n', "", "dataset: missing; a board needs dataset, [[sets]] and [[scenarios]]"),
    ],
)
def test_a_mistake_is_answered_with_its_place_and_what_is_right(tmp_path: Path, was: str, becomes: str, message: str) -> None:
    assert was in FULL
    assert answer(tmp_path, FULL.replace(was, becomes, 1)).startswith(f"board.toml: {message}")


def test_toml_that_is_not_valid_is_answered_with_its_line(tmp_path: Path) -> None:
    assert "board.toml: not valid TOML: " in answer(tmp_path, 'dataset = "digits"\nsets = [\n')
    assert re.search(r"at line 2, column \d+", answer(tmp_path, 'dataset = "digits"\nseeds = = 3\n'))


def test_bytes_that_are_no_text_are_not_valid_toml(tmp_path: Path) -> None:
    (tmp_path / "board.toml").write_bytes(b"title = '\xff'")
    with pytest.raises(BoardError, match=r"board\.toml: not valid TOML"):
        load_board(tmp_path)


def test_a_board_is_named_by_its_folder_or_its_file(tmp_path: Path) -> None:
    file = written(tmp_path, FULL)
    assert board_path(tmp_path) == board_path(file) == file
    assert load_board(tmp_path) == load_board(file)


def test_a_folder_without_a_board_is_named(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "absent"):
        with pytest.raises(BoardError, match=rf"{place}: no board here; expected a folder with board\.toml, or the file itself"):
            load_board(place)


def test_a_timeout_is_the_whole_boards_and_none_of_its_trials_says_it(refused) -> None:
    base = {"dataset": "digits", "sets": [{"method": "random", "ipc": 1}], "scenarios": ["cross-optimizer"]}
    assert checked(Board, base, "b").timeout == 0
    assert checked(Board, base | {"timeout": 90, "parts": [{"dataset": "digits"}]}, "b").timeout == 90
    assert not {"timeout"} & {*Trial.model_fields, *Setup.model_fields, *Protocol.model_fields}
    with refused(BoardError, "b: timeout", "greater than or equal to 0", -1):
        checked(Board, base | {"timeout": -1}, "b")
    with refused(BoardError, "timeout is the whole board's: it goes above [[parts]]"):
        checked(Board, base | {"parts": [{"timeout": 3}]}, "b")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = " + "[" * 3000 + "]" * 3000, "arrays or tables nested too deep; at most 32 stand in one another"),
        ("x = " + "[" * 40 + "]" * 40, "arrays or tables nested too deep; at most 32 stand in one another"),
        ("x = " + "{ a = " * 40 + "1" + " }" * 40, "arrays or tables nested too deep; at most 32 stand in one another"),
        (".".join("abcdefgh" * 500) + " = 1", "arrays or tables nested too deep; at most 32 stand in one another"),
        ("x = " + "9" * 5000, "not valid TOML: "),
        ("x = \x00", "not valid TOML: "),
    ],
)
def test_toml_made_to_exhaust_its_reader_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "board.toml").write_text(text)
    with pytest.raises(BoardError) as caught:
        load_board(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'board.toml'}: {words}")


def test_a_board_file_of_any_size_takes_no_memory(tmp_path: Path) -> None:
    with (tmp_path / "board.toml").open("wb") as stream:
        stream.truncate(2**40)
    with pytest.raises(BoardError, match=r"board\.toml: 1048576 MiB, above the limit of 16 MiB"):
        load_board(tmp_path)


def test_a_byte_order_mark_before_a_board_is_no_part_of_it(tmp_path: Path) -> None:
    for name, mark in (("plain", b""), ("marked", b"\xef\xbb\xbf")):
        (tmp_path / f"{name}.toml").write_bytes(mark + board_text().encode())
    assert load_board(tmp_path / "marked.toml") == load_board(tmp_path / "plain.toml")
