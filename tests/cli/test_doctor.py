"""The doctor: says what is at hand, what is missing for which board and the option that brings it; makes and loads nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.boards.board import load_board
from harness.cli.doctor import examine
from harness.core.digests import digest_json
from harness.core.errors import BoardError, DataError
from harness.distilled import readers
from harness.planning.artefacts import Artefacts
from harness.planning.preparation import Preparation
from harness.planning.supplies import Supplies
from harness.running.queue import note

DIGITS = """
dataset = "digits"
model = "convnet1(width=4)"
teacher = { model = "convnet1(width=4)", epochs = 1, augmentation = "none" }
protocol = "smoke"
seeds = 1
sets = [{ method = "random", title = "Random", ipc = [1, 2] }]
scenarios = [{ name = "cross-optimizer", optimizers = ["adamw"] }]
"""

TWO_PARTS = """
title = "Two datasets"
protocol = "paper"
losses = ["native", "gift"]
scenarios = ["cross-optimizer"]

[[parts]]
dataset = "cifar100"
model = "convnet3"
teacher = { model = "convnet3", checkpoint = ["cifar100_conv3.pth", "cifar100_convnet3.pth"], expect = 61.27 }
sets = [{ format = "stripes", title = "Stripes", ipc = [1, 10], distilled_on = "convnet" }]

[[parts]]
dataset = "folder:tiny"
model = "convnet4"
teacher = { model = "convnet4", checkpoint = "tiny_conv4.pth", expect = 49.73, required = true }
sets = [{ format = "stripes", title = "Stripes", ipc = 10, distilled_on = "convnet" }]
"""

DATA = Path("data")


@pytest.fixture(autouse=True)
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in an empty folder with a cache of its own; "stripes" is a format that nobody reads here."""
    monkeypatch.setenv("GIFTBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "130")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    DATA.mkdir()
    readers.add("stripes", "nowhere:stripes")
    yield
    readers.remove("stripes")


def board(text: str, name: str = "board") -> Path:
    folder = Path("leaderboards") / name
    folder.mkdir(parents=True)
    (folder / "board.toml").write_text(text)
    return folder


def diagnose(*boards: Path, sets: Sequence[str] = (), teachers: Sequence[str] = (), data_dir: Path | None = None) -> str:
    return examine(boards, Supplies.parse(sets, teachers), data_dir)


def line(text: str, *words: str) -> str:
    """Return the first line that holds all these words."""
    found = [line.strip() for line in text.splitlines() if all(word in line for word in words)]
    assert found, f"no line with {words} in:\n{text}"
    return found[0]


def command(text: str) -> str:
    """Return the last command, its lines joined as a shell does."""
    return text[text.rindex("giftbench run") :].partition("\n\n")[0].replace(" \\\n     ", "")


def cifar100(root: Path) -> None:
    folder = root / "cifar-100-python"
    folder.mkdir()
    for name in ("train", "test", "meta"):
        (folder / name).write_bytes(b"x")


def tiny(root: Path) -> None:
    """Lay out a dataset folder of two classes whose images are never opened."""
    for place in ("train/cat", "train/dog", "test/cat", "test/dog"):
        (root / "tiny" / place).mkdir(parents=True)
        (root / "tiny" / place / "1.png").write_bytes(b"x")


def tree(root: Path) -> dict[str, Any]:
    return {str(path): path.stat().st_mtime_ns for path in root.rglob("*")}


def test_a_board_on_digits_is_ready_and_says_what_its_run_makes() -> None:
    text = diagnose(board(DIGITS))
    assert line(text, "ready") == "ready"
    assert line(text, "digits  ", "yes")
    assert line(text, "Random", "1, 2", "yes", "made by the run: random")
    assert line(text, "convnet1(width=4)", "yes", "trained by the run")
    assert line(text, "giftbench run") == "giftbench run leaderboards/board"
    assert "PATH is where" not in text


def test_what_a_run_made_is_at_hand_and_its_records_are_counted() -> None:
    folder = board(DIGITS.replace("sets = [", 'sets = [{ method = "herding", title = "Herding", ipc = 1 }, '))
    preparation = Preparation(load_board(folder), "board.toml", Artefacts(folder / "artefacts"), device="cpu")
    made = {prepared.file.path.name: prepared for prepared in preparation.sets()}
    (teacher,) = preparation.teacher_files()
    (folder / "records").mkdir()
    for i, status in enumerate(("done", "done", "failed")):
        (folder / "records" / f"{i}.json").write_text(json.dumps({"trial": {}, "status": status}))
    text = diagnose(folder)
    assert all(line(text, prepared.name, f"made: artefacts/{name}") for name, prepared in made.items())
    assert line(text, "convnet1(width=4)", f"trained, {teacher.accuracy:.1f} %: artefacts/{teacher.path.name}")
    assert line(text, "records") == "records: 2 done, 1 failed"
    assert line(text, "trials") == "trials: giftbench plan BOARD says how many lack a record"
    assert "; 3 records" in line(diagnose(), "ready")
    note(folder, ["0", "1", "2", "3", "4"])
    assert line(diagnose(folder), "trials") == "trials: 2 of 5 lack a record"
    assert "; 3 records, 2 of 5 trials lack one" in line(diagnose(), "ready")

    (folder / "board.toml").write_text(DIGITS.replace("epochs = 1", "epochs = 2").replace('"Random"', '"Random", seed = 1'))
    changed = diagnose(folder)
    assert "trained by the run" in changed and "made by the run: random" in changed and "artefacts/" not in changed


def test_each_thing_that_a_board_of_parts_lacks_is_named_with_what_brings_it() -> None:
    text = diagnose(board(TWO_PARTS), data_dir=DATA)
    verdict = line(text, "cannot run")
    assert "datasets cifar100, folder:tiny; all 3 sets (Stripes); teacher convnet4 of folder:tiny" in verdict
    assert line(text, "cifar100", "no", "cifar-100-python", "tar -xzf cifar-100-python.tar.gz -C data")
    assert "no" in line(text, "folder:tiny  ").split()
    assert line(text, "Stripes", "cifar100", "1, 10", "no", "not given; give --set stripes/cifar100=PATH")
    assert line(text, "Stripes", "folder:tiny", "not given; give --set stripes/folder:tiny=PATH")
    assert line(text, "convnet3", "yes", "trained by the run, for want of cifar100_conv3.pth or cifar100_convnet3.pth (61.27 %")
    assert line(text, "convnet4", "no tiny_conv4.pth (49.73 % expected); give --teacher convnet4/folder:tiny=PATH")
    assert command(text).endswith("--data-dir data --set stripes=PATH/{dataset} --teacher convnet4/folder:tiny=PATH")
    assert "left out of a run" in text


def test_with_all_put_in_place_the_board_is_ready_and_the_command_holds_what_was_given() -> None:
    folder = board(TWO_PARTS)
    cifar100(DATA)
    tiny(DATA)
    for name in ("sets/cifar100", "sets/folder:tiny", "data/teachers"):
        Path(name).mkdir(parents=True)
    (DATA / "teachers" / "tiny_conv4.pth").write_bytes(b"x")
    (folder / "cifar100_convnet3.pth").write_bytes(b"x")
    text = diagnose(folder, sets=["stripes=sets/{dataset}"], data_dir=DATA)
    assert line(text, "ready") == "ready"
    assert line(text, "Stripes", "1, 10", "yes", "sets/cifar100")
    assert line(text, "convnet4", "yes", "data/teachers/tiny_conv4.pth (49.73 % expected)")
    assert line(text, "convnet3", "yes", "leaderboards/board/cifar100_convnet3.pth (61.27 % expected)")
    assert command(text) == "giftbench run leaderboards/board --data-dir data --set 'stripes=sets/{dataset}'"


def test_one_part_that_can_run_makes_a_board_ready_but_for_the_rest() -> None:
    cifar100(DATA)
    Path("one").mkdir()
    given = ["stripes/cifar100=one"]
    text = diagnose(board(TWO_PARTS), sets=given, data_dir=DATA)
    assert "ready but for: dataset folder:tiny; 1 of 3 sets (Stripes); teacher convnet4 of folder:tiny" in line(text, "ready")
    assert "--set stripes/cifar100=one" in text and "--set stripes/folder:tiny=PATH" in text


def test_a_set_without_its_dataset_does_not_make_a_board_ready() -> None:
    Path("one").mkdir()
    text = diagnose(board(TWO_PARTS), sets=["stripes=one"], data_dir=DATA)
    assert line(text, "cannot run").startswith("cannot run; it lacks: datasets cifar100, folder:tiny; teacher convnet4")


def test_paths_that_lead_nowhere_are_said() -> None:
    text = diagnose(board(TWO_PARTS), sets=["stripes/cifar100=/nowhere", "stripes/mars=/x"], teachers=["convnet4=/no.pth"])
    assert line(text, "Stripes", "no", "/nowhere: no such file or folder; give --set stripes/cifar100=PATH")
    assert line(text, "convnet4", "no", "--teacher convnet4=/no.pth: /no.pth: no such file")
    assert line(text, "not used") == "not used: stripes/mars=/x fits nothing"
    assert "nowhere" not in command(text) and "no.pth" not in command(text)
    with pytest.raises(BoardError, match="did you mean 'stripes'"):
        diagnose(Path("leaderboards/board"), sets=["stripe=/x"])


def test_a_set_of_two_networks_must_say_which(tmp_path: Path) -> None:
    one = '{ format = "stripes", title = "Stripes", ipc = 1, distilled_on = "NETWORK", native = "kl" }'
    sets = f"[{one.replace('NETWORK', 'convnet')}, {one.replace('NETWORK', 'resnet18')}]"
    text = DIGITS.replace('[{ method = "random", title = "Random", ipc = [1, 2] }]', sets)
    found = diagnose(board(text), sets=[f"stripes={tmp_path}"])
    assert line(found, "resnet18", "no", "given, but of which network?; give --set stripes/resnet18=PATH")
    assert "--set stripes=PATH/{network}" in found
    found = diagnose(Path("leaderboards/board"), sets=[f"stripes/convnet={tmp_path}"])
    assert line(found, "ready") == "ready but for: 1 of 2 sets (Stripes)"


def test_files_that_the_board_itself_names_must_be_there() -> None:
    text = DIGITS.replace('method = "random", title = "Random", ipc = [1, 2]', 'file = "mine.safetensors"')
    folder = board(text)
    assert line(diagnose(folder), "cannot run") == "cannot run; it lacks: the set mine"
    assert "no such file" in line(diagnose(folder), "mine  ")
    (folder / "mine.safetensors").write_bytes(b"x")
    assert line(diagnose(folder), "ready") == "ready"
    published = DIGITS.replace('method = "random", title = "Random", ipc = [1, 2]', 'format = "stripes", path = "set"')
    folder = board(published, "published")
    assert line(diagnose(folder), "leaderboards/published/set: no such file or folder")
    (folder / "set").mkdir()
    assert line(diagnose(folder), "ready") == "ready"


def test_a_set_that_stores_its_labels_asks_for_no_teacher(tmp_path: Path) -> None:
    sets = '[{ format = "datm", title = "DATM", ipc = 10, native = "soft_ce" }]'
    text = DIGITS.replace('[{ method = "random", title = "Random", ipc = [1, 2] }]', sets)
    assert "teacher" not in diagnose(board(text), sets=[f"datm={tmp_path}"])
    fixed = text.replace('protocol = "smoke"', 'protocol = { name = "smoke", labels = "teacher" }')
    assert "trained by the run" in diagnose(board(fixed, "fixed"), sets=[f"datm={tmp_path}"])


def test_without_a_data_folder_what_torchvision_fetches_is_not_missing() -> None:
    text = diagnose(board(DIGITS.replace('"digits"', '"cifar10"')))
    assert line(text, "ready") == "ready"
    assert line(text, "cifar10  ", "yes", "downloaded by the run, or: tar -xzf cifar-10-python.tar.gz -C DATA")
    text = diagnose(board(DIGITS.replace('"digits"', '"tiny-imagenet"'), "tiny"))
    assert line(text, "cannot run") == "cannot run; it lacks: dataset tiny-imagenet"
    assert "unzip tiny-imagenet-200.zip -d DATA" in text and command(text).endswith("--data-dir DATA")


def test_a_broken_board_is_named_in_one_line_and_the_others_are_shown() -> None:
    board(DIGITS, "good")
    board(DIGITS.replace('"random"', '"randon"'), "typo")
    board("dataset = ", "toml")
    board(DIGITS.replace('"digits"', '"imagenet-1k(sise=64)"'), "option")
    text = diagnose()
    assert line(text, "leaderboards/typo/board.toml: sets[0]: no distiller 'randon'; did you mean 'random'")
    assert line(text, "leaderboards/toml/board.toml: not valid TOML")
    assert line(text, "leaderboards/option/board.toml: dataset: dataset 'imagenet-1k' has no parameter 'sise'")
    assert line(text, "giftbench run") == "giftbench run leaderboards/good"
    named = diagnose(*(Path("leaderboards") / name for name in ("typo", "good")))
    assert "did you mean 'random'" in named and "giftbench run leaderboards/good" in named
    with pytest.raises(BoardError, match="no board here"):
        diagnose(Path("leaderboards/absent"))


def test_the_overview_says_which_boards_a_thing_is_for() -> None:
    for name in ("paper/table1", "paper/table10", "paper/table2"):
        board(TWO_PARTS, name)
    board(DIGITS, "digits")
    text = diagnose(data_dir=DATA)
    assert line(text, "Stripes", "stripes/cifar100/convnet", "1, 10", "no", "not given", "paper/table1, table2, table10")
    assert line(text, "convnet4", "no tiny_conv4.pth", "paper/table1, table2, table10")
    assert line(text, "digits  ", "yes").endswith("digits")
    assert line(text, "giftbench run") == "giftbench run leaderboards/digits --data-dir data"
    assert max(map(len, text.splitlines())) <= 130


def test_without_boards_the_machine_is_described_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = diagnose()
    assert "core" in line(text, "device") and "GB free" in line(text, "cache", str(tmp_path / "home"))
    assert "set GIFTBENCH_DATA" in line(text, "data folder")
    assert line(text, "name a board") == "No board.toml below leaderboards/ here: name a board, as giftbench doctor BOARD."
    monkeypatch.setenv("GIFTBENCH_DATA", str(DATA.absolute()))
    assert f"{DATA.absolute()} (" in line(diagnose(), "data folder")
    assert "not there yet" in line(diagnose(data_dir=tmp_path / "absent"), "data folder")


def test_nothing_is_written(tmp_path: Path) -> None:
    folder = board(TWO_PARTS)
    board(DIGITS, "digits")
    before = tree(tmp_path)
    diagnose(data_dir=DATA)
    diagnose(folder)
    assert tree(tmp_path) == before


def test_a_broken_artefact_stops_a_board_as_it_stops_its_run() -> None:
    folder = board(DIGITS)
    preparation = Preparation(load_board(folder), "board.toml", Artefacts(folder / "artefacts"), device="cpu")
    for name, content, ask in (
        ("set-1.safetensors", b"", preparation.sets),
        ("teacher-1.safetensors", (1 << 60).to_bytes(8, "little") + b"{", preparation.teacher_files),
    ):
        path = folder / "artefacts" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        with pytest.raises(DataError, match=name) as stopped:
            ask()
        text = diagnose(folder)
        assert line(text, "cannot run").startswith("cannot run; it lacks: ")
        assert " ".join(str(stopped.value).removeprefix("board.toml: ").split()[-9:]) in " ".join(text.split())
        path.unlink()
    assert line(diagnose(folder), "ready") == "ready"


def test_broken_records_are_counted() -> None:
    folder = board(DIGITS)
    (folder / "records").mkdir()
    (folder / "records" / "1.json").write_bytes(b"[")
    text = diagnose(folder)
    assert line(text, "ready") == "ready"
    assert line(text, "records: ") == "records: 1 broken"


OWN = DIGITS.replace("epochs = 1", 'epochs = 1, optimizer = "lion(lr=0.01)", schedule = "multistep", precision = "bf16"')


@pytest.mark.parametrize(
    ("was", "becomes", "known"),
    [
        ("lr=0.01", "lr=1e-2", True),
        ("lr=0.01", "lr=0.01, weight_decay=0.0", True),
        ("lr=0.01", "lr=0.02", False),
        ('"multistep"', '"cosine"', False),
        ('"bf16"', '"float32"', False),
        ("convnet1(width=4)", "convnet1(width=4, norm=batch)", True),
        ("convnet1(width=4)", "convnet1(width=4, norm=instance)", False),
    ],
)
def test_a_teacher_is_at_hand_when_a_run_would_take_it_and_only_then(was: str, becomes: str, known: bool) -> None:
    folder = board(OWN)
    artefacts = Artefacts(folder / "artefacts")
    (teacher,) = Preparation(load_board(folder), "board.toml", artefacts, device="cpu").teacher_files()
    assert f"artefacts/{teacher.path.name}" in diagnose(folder)
    (folder / "board.toml").write_text(OWN.replace(was, becomes))
    assert (f"artefacts/{teacher.path.name}" in diagnose(folder)) == known
    preparation = Preparation(load_board(folder), "board.toml", artefacts, device="cpu")
    ((blueprint, _),) = preparation._teacher_blueprints()
    assert (artefacts.known_teacher(lambda _: digest_json(blueprint)) is not None) == known


def test_every_board_of_this_project_can_be_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    text = diagnose()
    assert "Broken boards" not in text
    assert all(f"giftbench run {path.parent.relative_to(root)}" in text for path in root.glob("leaderboards/**/board.toml"))


def giftbench(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "harness.cli", *words], capture_output=True, text=True, timeout=120, check=False)


def test_the_command_prints_the_report_and_ends_in_2_for_a_mistake() -> None:
    board(DIGITS)
    done = giftbench("doctor", "leaderboards/board")
    assert (done.returncode, done.stderr) == (0, "") and "\n  ready\n" in done.stdout
    done = giftbench("doctor", "leaderboards/absent")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "giftbench: leaderboards/absent: no board here; expected a folder with board.toml, or the file itself\n"


def test_no_heavy_library_is_loaded_for_it() -> None:
    if any(Path(place).exists() for place in ("/dev/nvidiactl", "/dev/dxg")):
        pytest.skip("with a GPU, torch is asked whether it can use it")
    board(TWO_PARTS.replace("stripes", "datm"))
    board(DIGITS, "digits")
    program = (
        "import json, sys; from harness.cli.doctor import examine; from harness.planning.supplies import Supplies;"
        "examine([], Supplies());"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert not {"torch", "torchvision", "timm", "kornia", "avalanche", "numpy", "pandas"} & set(json.loads(done.stdout))


def test_a_driver_whose_gpu_torch_cannot_use_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "an NVIDIA driver is here, but torch" in line(diagnose(), "device")
