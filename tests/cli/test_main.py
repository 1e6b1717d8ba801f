"""The command line's answer to input that is wrong: one line on standard error, exit status 2, no traceback."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness import DistilledSet, losses, scenarios
from harness.cli import main
from harness.distilled.files import FORMAT
from tests.conftest import Giftbench, board_text

Answer = Callable[..., str]

BOARD = board_text(scenarios=[{"name": "cross-optimizer"}])


@pytest.fixture
def answer(giftbench: Giftbench) -> Answer:
    """Return a function that runs the command line in this process and returns its one line, without the command's name."""

    def run(*words: object) -> str:
        said = giftbench(*words, status=2)
        assert said.out == ""
        return checked(said.err)

    return run


def checked(said: str) -> str:
    said = re.sub(r"\A(making [^\n]*\n)*", "", said)  # what a run says of its progress before it meets the mistake
    assert said.startswith("giftbench: "), said
    assert said.endswith("\n")
    assert said.count("\n") == 1, said
    assert "Traceback" not in said
    return said.removeprefix("giftbench: ").rstrip("\n")


@pytest.fixture
def board(tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of a tiny board in which `was` is replaced."""

    def write(was: str = "", becomes: str = "") -> Path:
        assert was in BOARD
        (tmp_path / "board.toml").write_text(BOARD.replace(was, becomes, 1))
        return tmp_path / "board.toml"

    return write


@pytest.mark.parametrize(
    ("was", "becomes", "message"),
    [
        ('["gift"]', '["gfit"]', "losses[0]: no loss 'gfit'; did you mean 'gift'?"),
        ('["gift"]', '["gift(gama=1)"]', "losses[0]: loss 'gift' has no parameter 'gama'; did you mean 'gamma'?"),
        ('["gift"]', '["gift(gamma=2)"]', "losses[0]: gamma must be in [0, 1], not 2.0"),
        ('model = "convnet1(width=8)"', 'model = "convent1"', "model: no model 'convent1'; did you mean 'convnet1' or "),
        ('"convnet1(width=8)"', '"timm/resnet10tt"', "did you mean 'resnet10t'"),
        ('"convnet1(width=8)"', '"timm/*"', "stands for many"),
        ('"smoke"', '{ optimizer = "admw" }', "protocol.optimizer: no optimizer 'admw'; did you mean 'adamw'"),
        ('"smoke"', '"smok"', "protocol: no protocol 'smok'; did you mean 'smoke'?"),
        ('"digits"', '"digit"', "dataset: no dataset 'digit'; did you mean 'digits'?"),
        ('"digits"', '"folder/*"', "stands for many; name one of them, such as 'folder/NAME'"),
        ('"digits"', '"digits(size=3)"', "dataset: dataset 'digits' has no parameter 'size'"),
        (
            '"cross-optimizer"',
            '"cross-optimiser"',
            "scenarios[0].name: no scenario 'cross-optimiser'; did you mean 'cross-optimizer'",
        ),
        ('"cross-optimizer"', '"cross-optimizer", optimizers = [3]', "scenarios[0].optimizers[0]: expected a name"),
        (
            '"cross-optimizer"',
            '"class-incremental", steps = 11',
            "scenarios[0].steps: steps must lie between 1 and the number of classes, 10; not 11",
        ),
        (
            '"cross-optimizer"',
            '"class-incremental", class_order = [0, 1, 2, 3, 4, 5, 6, 7, 8, 8]',
            "scenarios[0].class_order: a class order must hold each of the classes 0 to 9 once: 9 is missing",
        ),
        (
            '"cross-optimizer"',
            '"class-incremental", strategies = ["GDum"]',
            "scenarios[0].strategies[0]: no Avalanche strategy or plugin 'GDum'; did you mean 'GDumb'",
        ),
        ('"cross-optimizer"', '"class-incremental", memory = "much"', "scenarios[0].memory must be a whole number, not 'much'"),
        ('"cross-optimizer"', '"cross-optimizer", optimizers = true', "scenarios[0].optimizers must be a list, not True"),
        (
            '"cross-optimizer"',
            '"class-incremental", soft_labels = 3',
            "scenarios[0].soft_labels must be 'sliced' or 'unsliced', not 3",
        ),
        ('"cross-optimizer"', '"gamma-sweep", loss = "gift("', "scenarios[0].loss: cannot read 'gift('"),
        ('"cross-optimizer"', '"label-ablation", native = "klx"', "scenarios[0].native: no loss 'klx'; did you mean 'kl'?"),
        (
            '"cross-optimizer"',
            '"label-ablation", labels = ["nativ"]',
            "scenarios[0].labels[0] must be 'native', 'native + refinement', 'cosine' or 'gift', not 'nativ'; did you mean 'nati",
        ),
        ('"cross-optimizer"', '"gamma-sweep", gammas = [2.0]', "scenarios[0]: losses: gamma must be in [0, 1], not 2.0"),
        ('"cross-optimizer"', '"gamma-sweep", gamma = [0.1]', "scenarios[0]: scenario 'gamma-sweep' has no option 'gamma'"),
        ('"cross-optimizer"', '"label-regime", baseline = "none"', "scenarios[0].baseline: no set 'none' among 'random'"),
        ("seeds = 1", 'seeds = "one"', "seeds: must be how many (1 or more) or a list such as [4, 7], not 'one'"),
        ("seeds = 1", "sedes = 1", "sedes: unknown key; did you mean 'seeds' or "),
        ("seeds = 1", "seeds = = 1", "not valid TOML: "),
        ('"smoke"', '{ name = "smoke", labels = "hard" }', "loss 'gift' needs soft labels; set 'random' stores none"),
        ('"smoke"', '{ name = "smoke", labels = "stored" }', "loss 'gift' needs soft labels; set 'random' stores none"),
    ],
)
def test_a_mistake_on_a_board(board: Callable[..., Path], answer: Answer, was: str, becomes: str, message: str) -> None:
    file = board(was, becomes)
    said = answer("run", file, "--device", "cpu")
    assert said.startswith(f"{file}: ")
    assert message in said
    assert not (file.parent / "records").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--loss", "gfit"], "no loss 'gfit'; did you mean 'gift'?"),
        (["--loss", "gift("], "cannot read 'gift('"),
        (["--loss", "gift(gamma=high)"], "loss 'gift': gamma must be a number, not 'high'"),
        (["--scenario", "cross-optimiser"], "no scenario 'cross-optimiser'; did you mean 'cross-optimizer'"),
        (["--protocol", "papr"], "--protocol: no protocol 'papr'; did you mean 'paper'?"),
        (["--precision", "fp8"], "--precision: precision: Input should be 'float32', 'bf16' or 'tf32', not 'fp8'"),
        (["--device", "gpu"], "device must be auto, cpu, cuda or cuda:N, not 'gpu'"),
    ],
)
def test_a_mistake_on_the_command_line(board: Callable[..., Path], answer: Answer, options: list[str], message: str) -> None:
    assert message in answer("run", board(), *options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(board: Callable[..., Path], answer: Answer) -> None:
    assert "torch finds no CUDA device; use auto or cpu" in answer("run", board(), "--device", "cuda")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"--dataset": "digit"}, "no dataset 'digit'; did you mean 'digits'?"),
        ({"--method": "randm"}, "no distiller 'randm'; did you mean 'random'?"),
        ({"--method": "random("}, "cannot read 'random('"),
        ({"--ipc": "10000"}, "dataset digits has a class with "),
        ({"--teacher": "convnet3("}, "--teacher: models[0]: cannot read 'convnet3('"),
        ({"--teacher": "convent3", "--method": "rded"}, "--teacher: no model 'convent3'; did you mean 'convnet3'"),
        ({"--device": "gpu"}, "device must be auto, cpu, cuda or cuda:N"),
    ],
)
def test_a_mistake_in_what_to_distil(tmp_path: Path, answer: Answer, options: dict[str, str], message: str) -> None:
    given = {"--dataset": "digits", "--method": "random", "--ipc": "1", "--output": str(tmp_path / "x.safetensors")} | options
    words = [word for pair in given.items() for word in pair]
    assert message in answer("distill", *words)
    assert not (tmp_path / "x.safetensors").exists()


def test_an_empty_folder_is_no_board(tmp_path: Path, answer: Answer) -> None:
    for command in ("run", "table"):
        assert answer(command, tmp_path) == f"{tmp_path}: no board here; expected a folder with board.toml, or the file itself"
        assert "no board here" in answer(command, tmp_path / "absent")


def test_an_empty_folder_is_no_dataset(tmp_path: Path, board: Callable[..., Path], answer: Answer) -> None:
    (tmp_path / "empty").mkdir()
    said = answer("run", board('"digits"', f'"folder:{tmp_path / "empty"}"'), "--device", "cpu")
    assert f"dataset: dataset folder {tmp_path / 'empty'}: no train/ with one folder a class" in said
    (tmp_path / "empty" / "train").mkdir()
    (tmp_path / "empty" / "test").mkdir()
    assert "empty; expected one folder a class" in answer("run", tmp_path, "--device", "cpu")


@pytest.mark.parametrize("dataset", ["fashion-mnist", "cifar10", "cifar100"])
def test_a_data_folder_without_the_files(tmp_path: Path, board: Callable[..., Path], answer: Answer, dataset: str) -> None:
    (tmp_path / "data").mkdir()
    for folder in ("data", "absent"):
        said = answer("run", board('"digits"', f'"{dataset}"'), "--data-dir", tmp_path / folder, "--device", "cpu")
        assert f"dataset: {dataset}: " in said
        assert str(tmp_path / folder) in said


# -- distilled sets from elsewhere ------------------------------------------------------------------------------------------


def broken(file: Path, **tensors: torch.Tensor) -> None:
    """Write a set whose tensors were exchanged after it had been checked."""
    classes = {"classes": int(tensors.pop("classes"))} if "classes" in tensors else {}
    DistilledSet(torch.rand(10, 1, 16, 16), torch.arange(10), dataset="digits", method="mine").save(file)
    metadata = {
        "dataset": "digits",
        "method": "mine",
        "classes": 10,
        "normalised": False,
        "factor": 1,
        "native_loss": "",
        "provenance": {},
    }
    header = {"format": FORMAT, "digest": "0" * 64, "set": json.dumps(metadata | classes)}
    save_file(load_file(file) | tensors, file, metadata=header)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"labels": torch.arange(1, 11)}, "hard labels must lie in 0..9; these reach from 1 to 10"),
        ({"labels": torch.arange(10) - 1}, "hard labels must lie in 0..9; these reach from -1 to 8"),
        ({"labels": torch.arange(9)}, "10 images and 9 hard labels"),
        ({"labels": torch.rand(10)}, "hard labels must be integers"),
        ({"images": torch.full((10, 1, 16, 16), torch.nan)}, "images must be finite; 2560 values are not"),
        ({"images": torch.rand(10, 1, 16, 16) * 3}, "float pixels must lie in [0, 1]"),
        ({"images": torch.rand(10, 16, 16)}, "images must be [N, C, H, W], not [10, 16, 16]"),
        ({"soft_labels": torch.rand(10, 7)}, "soft labels have 7 columns for 10 classes"),
        ({"images": torch.rand(10, 1, 16, 16)}, "its content does not have the digest it states"),
    ],
)
def test_a_distilled_set_that_is_wrong_inside(
    tmp_path: Path, board: Callable[..., Path], answer: Answer, tensors: dict[str, torch.Tensor], message: str
) -> None:
    file = tmp_path / "mine.safetensors"
    broken(file, **tensors)
    said = answer("run", board('{ method = "random", ipc = 1 }', '{ file = "mine.safetensors" }'), "--device", "cpu")
    assert f"sets[0]: {file}: " in said
    assert message in said
    assert answer("inspect", file).startswith(f"{file}: ")


@pytest.mark.parametrize(
    ("shape", "classes", "message"),
    [
        ((10, 1, 16, 16), 12, "the distilled set has 12 classes, dataset digits has 10"),
        ((10, 1, 8, 8), 10, "the distilled set's images are 1x8x8 (channels x height x width), dataset digits's are 1x16x16"),
        ((10, 3, 16, 16), 10, "the distilled set's images are 3x16x16 (channels x height x width), dataset digits's are 1x16x16"),
    ],
)
def test_a_distilled_set_that_does_not_fit_the_dataset(
    tmp_path: Path, board: Callable[..., Path], answer: Answer, shape: tuple[int, ...], classes: int, message: str
) -> None:
    made = DistilledSet(torch.rand(shape), torch.arange(10), dataset="digits", method="mine", classes=classes)
    made.save(tmp_path / "mine.safetensors")
    said = answer("run", board('{ method = "random", ipc = 1 }', '{ file = "mine.safetensors" }'), "--device", "cpu")
    assert message in said


def test_a_file_that_is_no_distilled_set(tmp_path: Path, board: Callable[..., Path], answer: Answer) -> None:
    file = board('{ method = "random", ipc = 1 }', '{ file = "mine.safetensors" }')
    mine = tmp_path / "mine.safetensors"
    assert f"sets[0]: {mine}: no such file" in answer("run", file, "--device", "cpu")
    DistilledSet(torch.rand(10, 1, 16, 16), torch.arange(10), dataset="digits", method="mine").save(mine)
    whole = mine.read_bytes()
    for content in (b"", b"hello", whole[:100], whole[:-1]):
        mine.write_bytes(content)
        assert f"sets[0]: {mine}: not a safetensors file, or truncated" in answer("run", file, "--device", "cpu")
        assert answer("inspect", mine).startswith(f"{mine}: not a safetensors file, or truncated")
    save_file({"weights": torch.rand(3)}, mine)
    assert f"sets[0]: {mine}: not a distilled set" in answer("run", file, "--device", "cpu")


def test_inspecting_what_is_no_file(tmp_path: Path, answer: Answer) -> None:
    assert answer("inspect", tmp_path / "absent") == f"{tmp_path / 'absent'}: no such file"
    assert answer("inspect", tmp_path).startswith(f"{tmp_path}: ")


# -- plugins and lists ------------------------------------------------------------------------------------------------------


def test_a_plugin_that_is_absent_or_broken(tmp_path: Path, board: Callable[..., Path], answer: Answer) -> None:
    file, broken_plugin = board(), tmp_path / "broken.py"
    broken_plugin.write_text("x = 1\ndef broken(:\n")
    for words in (["run", file], ["table", file], ["list", "losses"]):
        assert answer(*words, "--plugin", tmp_path / "absent.py").endswith("absent.py: no such file")
        assert f"{broken_plugin}: line 2: " in answer(*words, "--plugin", broken_plugin)


def test_two_plugins_of_one_name(tmp_path: Path, board: Callable[..., Path], answer: Answer) -> None:
    files = [tmp_path / "one.py", tmp_path / "other.py"]
    for file in files:
        file.write_text(
            "from harness import losses\n\n\n@losses.register('twin')\ndef twin(logits, targets):\n    return logits.sum()\n"
        )
    try:
        said = answer("run", board(), *(word for file in files for word in ("--plugin", file)))
    finally:
        losses.registry.remove("twin")
    assert "two losses are named 'twin': one from one.py, one from other.py; rename one of them" in said


def test_a_scenario_that_yields_one_trial_twice(tmp_path: Path, board: Callable[..., Path], answer: Answer) -> None:
    (tmp_path / "twice.py").write_text(
        "from harness import Scenario, scenarios\n\n\n@scenarios.register('twice')\nclass Twice(Scenario):\n"
        "    def trials(self, view, options):\n        yield from self.vary(view)\n        yield from self.vary(view)\n"
    )
    try:
        said = answer("run", board('"cross-optimizer"', '"twice"'), "--plugin", tmp_path / "twice.py")
    finally:
        scenarios.remove("twice")
    assert "scenarios[0]: scenario 'twice' yields two trials with one id (random, IPC 1, gift, " in said


def test_an_error_of_many_lines_is_answered_in_one(tmp_path: Path, answer: Answer) -> None:
    (tmp_path / "chatty.py").write_text("raise RuntimeError('first\\nsecond')\n")
    assert answer("list", "losses", "--plugin", tmp_path / "chatty.py").endswith("chatty.py: RuntimeError: first second")


def test_listing_a_kind_that_is_not() -> None:
    done = giftbench("list", "nonsense")
    assert done.returncode == 2
    kinds = "augmentations, datasets, distillers, executors, losses, models, "
    assert checked(done.stderr).startswith(f"nothing is called 'nonsense'; valid: {kinds}")
    assert "did you mean 'losses'" in giftbench("list", "loses").stderr


# -- truly from outside -----------------------------------------------------------------------------------------------------


def giftbench(*words: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness.cli", *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )


def test_from_outside_a_wrong_board_ends_in_one_line_and_status_2(board: Callable[..., Path]) -> None:
    file = board('["gift"]', '["gfit"]')
    done = giftbench("run", file, "--device", "cpu")
    assert (done.returncode, done.stdout) == (2, "")
    assert checked(done.stderr) == f"{file}: losses[0]: no loss 'gfit'; did you mean 'gift'?"


def test_from_outside_a_broken_plugin_ends_in_one_line_and_status_2(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def broken(:\n")
    done = giftbench("list", "losses", "--plugin", tmp_path / "broken.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{tmp_path / 'broken.py'}: line 1: " in checked(done.stderr)


def test_from_outside_a_file_that_is_no_set_ends_in_one_line_and_status_2(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"hello")
    done = giftbench("inspect", tmp_path / "x.safetensors")
    assert (done.returncode, done.stdout) == (2, "")
    assert "not a safetensors file, or truncated" in checked(done.stderr)


# -- what the harness warns of -------------------------------------------------------------------------------------------------


@pytest.fixture
def with_broken_record(board: Callable[..., Path], tmp_path: Path) -> tuple[Path, str]:
    """A board with a record that is none, and the line that says so."""
    records = tmp_path / "records"
    records.mkdir()
    (records / "0.json").write_text('{"trial": {}}')
    return board(), f"{records.resolve() / '0.json'}: broken record, set aside in {records.resolve() / 'broken'}: "


@pytest.mark.parametrize("plugin", ["", "import logging; logging.basicConfig(format='LIBRARY %(message)s')"])
def test_a_broken_record_is_named_in_a_line_of_its_own_whatever_libraries_log(
    with_broken_record: tuple[Path, str], tmp_path: Path, plugin: str
) -> None:
    (tmp_path / "plugin.py").write_text(plugin)
    done = giftbench("table", str(with_broken_record[0]), "--plugin", str(tmp_path / "plugin.py"))
    assert done.returncode == 0
    assert done.stderr.startswith(with_broken_record[1]), done.stderr
    assert done.stderr.count("\n") == 1


def test_from_python_it_is_shown_too_and_can_be_left_out(with_broken_record: tuple[Path, str]) -> None:
    program = "import logging, sys; from harness.boards.records import RecordStore;{} print(RecordStore(sys.argv[1]).read())"
    for told, shown in (("", True), (" logging.getLogger('giftbench').setLevel('ERROR');", False)):
        records = with_broken_record[0].parent / "records"
        (records / "0.json").write_text('{"trial": {}}')
        words = [sys.executable, "-c", program.format(told), str(records.resolve())]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        assert done.stdout == "[]\n"
        assert done.stderr.startswith(with_broken_record[1]) if shown else done.stderr == ""


def test_the_command_line_leaves_no_trace_in_a_process_that_calls_it(answer: Answer) -> None:
    log = logging.getLogger("giftbench")
    before = log.handlers[:], log.propagate
    answer("table", "absent")
    assert (log.handlers, log.propagate) == before


# -- how long a line may be ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["list", "x" * 9999], ["table", "x/" * 9999], ["table", "--" + "x" * 9999], ["x" * 9999]])
def test_a_line_is_short_whatever_the_command_line_brings(giftbench: Giftbench, words: list[str]) -> None:
    lines = giftbench(*words, status=2).err.splitlines()
    assert lines
    assert max(map(len, lines)) < 500
    assert "xxx" in lines[-1] or "x/x/" in lines[-1]


def test_a_long_line_loses_its_middle_and_control_characters() -> None:
    assert main.line("a\tb\nc\x1b[2Jd\ud800") == "a b c?[2Jd?"
    shown = main.line("what" + "x" * 9999 + "remedy")
    assert shown.startswith("whatx")
    assert shown.endswith("xremedy")
    assert len(shown) == main.LONGEST


def test_what_the_harness_warns_of_is_as_short(capsys: pytest.CaptureFixture[str]) -> None:
    with main._warnings_shown():
        logging.getLogger("giftbench").warning("x" * 9999)
    assert len(capsys.readouterr().err) == main.LONGEST + 1


def test_what_the_system_refuses_is_one_line(answer: Answer, board: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(5, "Input/output error", "some/file")

    monkeypatch.setattr("harness.running.opening.load_board", refuse)
    assert answer("table", board()) == "some/file: Input/output error"


def test_help_lists_every_command_once_in_its_group() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "harness.cli", "--help"],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "80"},
        check=True,
    ).stdout
    groups = {title: told.split(f"{title}:\n")[1].split("\n\n")[0].splitlines() for title in main.GROUPS}
    listed = [line.split()[0] for lines in groups.values() for line in lines]
    assert sorted(listed) == sorted(command.name for command in main.app.registered_commands)
    assert "Others:" not in told
    assert all(len(line) <= 80 for line in told.splitlines())


def test_completion_is_installed_and_completes_a_command(tmp_path: Path) -> None:
    surroundings = {**os.environ, "HOME": str(tmp_path), "SHELL": "/bin/bash"}
    subprocess.run(
        [sys.executable, "-m", "harness.cli", "--install-completion", "bash"], env=surroundings, check=True, capture_output=True
    )
    assert "bash_completions" in (tmp_path / ".bashrc").read_text()
    asked = {**surroundings, "_GIFTBENCH_COMPLETE": "complete_bash", "COMP_WORDS": "giftbench st", "COMP_CWORD": "1"}
    code = "import sys; sys.argv[0] = 'giftbench'; from harness.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=asked, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["status"]
