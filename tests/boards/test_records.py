"""Records: written whole or not at all, read with care, set aside when broken."""

from __future__ import annotations

import errno
import gc
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.boards.protocol import Protocol
from harness.boards.records import MAX_BYTES, SCHEMA, Record, RecordStore
from harness.boards.trial import Trial
from harness.core.spec import Spec

METRICS = {"accuracy": 50.0, "best_accuracy": 60.0, "top5_accuracy": 90.0}


def trial(seed: int = 0, **labels: Any) -> Trial:
    return Trial(
        scenario="cross-optimizer",
        dataset={"name": "digits", "digest": "d" * 64},
        distilled="e" * 64,
        teacher=("a", "b"),
        model=Spec(name="convnet1", options={"width": 8}),
        loss=Spec(name="gift", options={"gamma": 0.1}),
        optimizer=Spec(name="adamw", options={"lr": 1e-3}),
        protocol=Protocol(name="smoke", epochs=2, batch_size=10),
        seed=seed,
        labels={"order": seed, "method": "random", "ipc": 1} | labels,
    )


def record(seed: int = 0, status: Any = "done", **rest: Any) -> Record:
    given: dict[str, Any] = {"metrics": METRICS, "history": [{"epoch": 2, "accuracy": 50.0}], "timing": {"total": 1.5}}
    return Record.of(trial(seed), status, **given | rest)


def test_a_record_without_warnings_is_written_as_ever_and_one_with_them_reads_back(tmp_path: Path) -> None:
    plain, store = record(), RecordStore(tmp_path)
    assert "provenance" not in json.loads(store.write(plain).read_text())
    assert plain.warned(()) is plain
    warned = plain.warned(("odd", "very odd"))
    assert json.loads(store.write(warned).read_text())["provenance"] == {"warnings": ["odd", "very odd"]}
    assert store.read() == [warned] and warned.id == plain.id


def statuses(store: RecordStore) -> dict[str, str]:
    return {found.id: found.status for found in store}


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    return RecordStore(tmp_path / "records")


def test_a_record_reads_back_as_it_was_written(store: RecordStore) -> None:
    written = record(environment={"device": "CPU", "versions": {"torch": "2.9"}})
    path = store.write(written)
    assert path == store.folder / f"{written.trial.id}.json"
    assert list(store) == [written]


def test_a_record_is_readable_json_that_names_its_schema(store: RecordStore) -> None:
    content = json.loads(store.write(record()).read_text())
    assert content["schema"] == SCHEMA == "giftbench.record/1"
    assert content["id"] == trial().id
    assert content["trial"]["loss"] == {"name": "gift", "options": {"gamma": 0.1}}
    assert content["metrics"] == METRICS
    assert content["created"].endswith("+00:00")


def test_the_same_record_is_the_same_bytes(store: RecordStore) -> None:
    one = record()
    first = store.write(one).read_bytes()
    assert store.write(Record.model_validate_json(first)).read_bytes() == first


def test_a_second_record_of_a_trial_replaces_the_first(store: RecordStore) -> None:
    store.write(record(status="failed", error="no luck"))
    store.write(record(status="done"))
    assert statuses(store) == {trial().id: "done"}


def test_every_record_tells_how_its_trial_ended(store: RecordStore) -> None:
    for seed, status in enumerate(("done", "diverged", "failed")):
        store.write(record(seed, status))
    assert statuses(store) == {trial(0).id: "done", trial(1).id: "diverged", trial(2).id: "failed"}


def test_ids_are_told_by_the_names_of_files_none_of_which_is_read(store: RecordStore) -> None:
    ids = {store.write(record(seed)).stem for seed in range(3)}
    (store.folder / "0.json").write_text("no record")
    (store.folder / ".1.tmp").write_text("half")
    assert store.ids() == ids | {"0"}


def test_a_store_without_a_folder_is_empty(store: RecordStore) -> None:
    assert store.ids() == set()
    assert list(store) == []
    assert statuses(store) == {}


def test_every_committed_record_is_written_as_it_was_read(store: RecordStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda number: None)
    folders = [*Path(__file__).parents[2].glob("leaderboards/*/records")]
    assert len(folders) > 4
    for folder in folders:
        for read in (
            RecordStore(folder).read(),
            [Record.model_validate_json(file.read_bytes()) for file in folder.glob("*.json")],
        ):
            assert len(read) == len([*folder.glob("*.json")])
            for one in read:
                assert store.write(one).read_bytes() == (folder / f"{one.id}.json").read_bytes()


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_crash_before_the_rename_leaves_no_record(store: RecordStore, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    def crash(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync", crash) if moment == "fsync" else (Path, "replace", crash)))
        with pytest.raises(KeyboardInterrupt):
            store.write(record())
    assert statuses(store) == {}
    assert not list(store.folder.iterdir())
    store.write(record())
    assert statuses(store) == {trial().id: "done"}


WRITER = """
import os, sys
from harness.boards.records import Record, RecordStore
os.fsync = lambda number: os._exit(9)
RecordStore(sys.argv[1]).write(Record.model_validate_json(sys.stdin.read()))
"""


def test_what_a_killed_writer_leaves_behind_is_swept_and_records_stay(store: RecordStore) -> None:
    kept = store.write(record(1))
    words = [sys.executable, "-c", WRITER, str(store.folder)]
    assert subprocess.run(words, input=record(0).model_dump_json(by_alias=True), text=True, check=False).returncode == 9
    (left,) = {*store.folder.iterdir()} - {kept}
    store.sweep()
    assert left.exists(), "another runner may be about to give it its name"
    os.utime(left, (0, 0))
    store.sweep()
    assert list(store.folder.iterdir()) == [kept]


def test_a_crash_while_rewriting_keeps_the_record_that_was_there(store: RecordStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write(record())

    def crash(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "fsync", crash)
        store.write(record(metrics=METRICS | {"accuracy": 99.0}))
    assert [kept.metrics["accuracy"] for kept in store] == [50.0]


def test_content_is_on_disk_before_it_has_its_name(store: RecordStore, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda number: (steps.append("fsync"), fsync(number))[1])
    monkeypatch.setattr(Path, "replace", lambda self, target: (steps.append("rename"), replace(self, target))[1])
    store.write(record())
    assert steps == ["fsync", "rename"]


def edited(content: bytes, **changes: Any) -> bytes:
    return json.dumps(json.loads(content) | changes).encode()


def other(content: bytes, part: str, **changes: Any) -> bytes:
    return edited(content, **{part: json.loads(content)[part] | changes})


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: content[: len(content) // 2], "Invalid JSON: EOF while parsing"),
        (lambda content: b"", "Invalid JSON: EOF while parsing"),
        (lambda content: b"\xff\xfe", "Invalid JSON: expected value"),
        (lambda content: edited(content, id="0" * 20), "id: its id is not the hash of its trial"),
        (lambda content: other(content, "trial", seed=9), "id: its id is not the hash of its trial"),
        (
            lambda content: other(content, "trial", seed=2**64),
            "trial.seed: Input should be less than 9223372036854775808, not 184",
        ),
        (lambda content: other(content, "trial", seed="one"), "trial.seed: Input should be a valid integer"),
        (lambda content: other(content, "trial", epochs=3), "trial.epochs: Extra inputs are not permitted, not 3"),
        (lambda content: other(content, "trial", protocol={"epochs": -1}), "trial.protocol.epochs: "),
        (lambda content: other(content, "trial", model="convnet1(("), "trial.model: "),
        (
            lambda content: other(content, "trial", labels={"epochs": "many"}),
            "trial.labels.epochs: Input should be a valid integer",
        ),
        (
            lambda content: edited(content, schema="giftbench.record/0"),
            "schema: 'giftbench.record/0', expected 'giftbench.record/1'",
        ),
        (lambda content: edited(content, schema="giftbench.record/1.5"), "schema: 'giftbench.record/1.5', expected"),
        (lambda content: edited(content, schema=7), "schema: Input should be a valid string, not 7"),
        (
            lambda content: edited(content, status="perfect"),
            "status: Input should be 'done', 'diverged' or 'failed', not 'perfect'",
        ),
        (lambda content: content.replace(b'"seed": 1', b'"seed": ' + b"9" * 5000), "a number of more than 1,000 digits"),
        (lambda content: edited(content, surprise=1), "surprise: Extra inputs are not permitted, not 1"),
        (
            lambda content: edited(content, environment={"versions": {"torch": 2}}),
            "environment.versions.torch: Input should be a",
        ),
        (lambda content: edited(content, metrics={"accuracy": "high"}), "metrics.accuracy: Input should be a valid number"),
        (lambda content: edited(content, metrics={"accuracy": 250}), "metrics.accuracy: 250 is outside of 0 to 100 percent"),
        (
            lambda content: edited(content, metrics={"own_accuracy": -50}),
            "metrics.own_accuracy: -50 is outside of 0 to 100 percent",
        ),
        (lambda content: edited(content, metrics={"forgetting": float("inf")}), "metrics.forgetting: inf is not finite"),
        (lambda content: edited(content, history=[{"accuracy": 101}]), "history[0].accuracy: 101 is outside of 0 to 100 percent"),
        (lambda content: edited(content, timing={"total": float("nan")}), "timing.total: nan is not finite"),
    ],
)
def test_a_broken_record_is_named_and_set_aside_and_the_others_are_read(
    store: RecordStore, caplog: pytest.LogCaptureFixture, damage: Any, reason: str
) -> None:
    store.write(record(0))
    path = store.write(record(1))
    content = damage(path.read_bytes())
    path.write_bytes(content)
    assert statuses(store) == {trial(0).id: "done"}
    (said,) = caplog.messages
    assert said.startswith(f"{path}: broken record, set aside in {store.folder / 'broken'}: ")
    assert reason in said
    assert "\n" not in said
    assert caplog.records[0].name == "giftbench"
    assert not path.exists()
    assert (store.folder / "broken" / path.name).read_bytes() == content
    assert statuses(store) == {trial(0).id: "done"}
    assert len(caplog.messages) == 1


def test_a_record_under_another_trials_name_is_broken(store: RecordStore, caplog: pytest.LogCaptureFixture) -> None:
    path = store.write(record())
    path.rename(store.folder / f"{'0' * 20}.json")
    assert statuses(store) == {}
    assert "its id is not the hash of its trial" in caplog.text


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"metrics": METRICS | {"forgetting": float("nan")}}, "metrics.forgetting: nan is not finite"),
        ({"metrics": METRICS | {"accuracy": float("-inf")}}, "metrics.accuracy: -inf is not finite"),
        ({"metrics": METRICS | {"accuracy": 250.0}}, "metrics.accuracy: 250 is outside of 0 to 100 percent"),
        ({"metrics": METRICS | {"top5_accuracy": -50.0}}, "metrics.top5_accuracy: -50 is outside of 0 to 100 percent"),
        ({"history": [{"epoch": 1.0, "accuracy": 1e9}]}, "history[0].accuracy: 1e+09 is outside of 0 to 100 percent"),
        ({"timing": {"total": 1.0, "train": float("inf")}}, "timing.train: inf is not finite"),
    ],
)
def test_numbers_that_no_trial_can_give_make_a_failed_record_that_names_them(
    store: RecordStore, given: dict[str, Any], reason: str
) -> None:
    made = record(**given)
    assert (made.status, made.metrics, made.history) == ("failed", {}, [])
    assert made.error == f"the scenario returned what no measure can be: {reason}"
    store.write(made)
    assert list(store) == [made]


def test_percentages_at_the_ends_and_measures_that_are_none_are_taken(store: RecordStore) -> None:
    written = [record(0, metrics={"accuracy": 0.0, "best_accuracy": 100.0, "forgetting": -12.5, "steps": 5000.0})]
    store.write(written[0])
    assert store.read() == written


# -- what else lies in the folder ------------------------------------------------------------------------------------------


def plant(kind: str, place: Path) -> None:
    """Put something that is no record at `place`."""
    if kind == "folder":
        place.mkdir()
    elif kind == "dangling link":
        place.symlink_to("nowhere")
    elif kind == "link in a circle":
        place.symlink_to(place.name)
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            here = Path.cwd()
            os.chdir(place.parent)  # a socket's path is short
            try:
                one.bind(place.name)
            finally:
                os.chdir(here)
    elif kind == "huge":
        with place.open("wb") as stream:
            stream.truncate(MAX_BYTES + 1)
    else:
        place.write_text(kind)


ODD = {
    "folder": "a folder",
    "dangling link": "a link that leads nowhere",
    "link in a circle": "cannot be read: too many levels of symbolic links",
    "pipe": "not a regular file",
    "socket": "not a regular file",
    "huge": "64 MiB, above the limit of 64 MiB",
    '{"name": "a package"}': "no record of a trial",
    "[1, 2]": "no record of a trial",
    "null": "no record of a trial",
}


@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_record_is_passed_over_with_a_line_and_makes_room_for_a_record(
    store: RecordStore, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    kept = record(0)
    store.write(kept)
    for name in ("odd", trial(1).id):
        plant(kind, store.folder / f"{name}.json")
    before = sorted(store.folder.iterdir())
    assert store.read() == list(store) == [kept]
    lines = [f"{store.folder / name}.json: passed over: {ODD[kind]}" for name in sorted(["odd", trial(1).id])]
    assert caplog.messages == lines  # once, however often the folder is read
    assert sorted(store.folder.iterdir()) == before
    assert store.statuses()["done"] == 1
    store.sweep()
    store.write(record(1))
    assert statuses(store) == {trial(seed).id: "done" for seed in range(2)}
    assert [*(store.folder / "broken").iterdir()] == [store.folder / "broken" / f"{trial(1).id}.json"]


def test_a_record_that_may_not_be_read_is_called_so_and_stays(
    store: RecordStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, opened = store.write(record()), os.open

    def refuse(place: Any, *rest: Any, **more: Any) -> int:
        if Path(place) == path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))
        return opened(place, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)  # whoever runs the tests may be allowed to read everything
    assert store.read() == []
    assert caplog.messages == [f"{path}: passed over: cannot be read: permission denied"]
    assert path.exists()


def test_a_record_that_another_process_takes_away_meanwhile_is_none(
    store: RecordStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(record())
    monkeypatch.setattr("harness.boards.records._names", lambda folder: ["0.json", f"{trial().id}.json"])
    assert len(store.read()) == 1
    assert not caplog.messages


def test_broken_records_of_one_name_are_all_kept(store: RecordStore) -> None:
    path = store.folder / f"{trial().id}.json"
    store.folder.mkdir()
    for damage in ("one", "two", "three"):
        path.write_text(damage)
        assert store.read() == []
    kept = {place.name: place.read_text() for place in (store.folder / "broken").iterdir()}
    assert kept == {path.name: "one", f"{path.stem}.2.json": "two", f"{path.stem}.3.json": "three"}


def test_broken_records_are_set_aside_elsewhere_where_broken_is_a_file(
    store: RecordStore, caplog: pytest.LogCaptureFixture
) -> None:
    path = store.write(record())
    path.write_text("half")
    (store.folder / "broken").write_text("a note")
    assert store.read() == []
    assert f"set aside in {store.folder / 'broken-2'}: " in caplog.text
    assert (store.folder / "broken-2" / path.name).read_text() == "half"
    assert (store.folder / "broken").read_text() == "a note"


def test_a_broken_record_that_cannot_be_moved_is_named_and_stays(
    store: RecordStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, path = record(1), store.write(record(0))
    store.write(kept)
    path.write_text("half")

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert store.read() == store.read() == [kept]
    (said,) = caplog.messages
    assert said.startswith(f"{path}: passed over: broken record (Invalid JSON: ")
    assert said.endswith("), and it cannot be set aside: Read-only file system")
    assert path.read_text() == "half"


# -- records of another time -----------------------------------------------------------------------------------------------


def newer(store: RecordStore, seeds: range, schema: str = "giftbench.record/2") -> list[Path]:
    """Plant records that a later giftbench made, which may hold anything."""
    paths = [store.write(record(seed)) for seed in seeds]
    for path in paths:
        path.write_text(json.dumps({"schema": schema, "id": path.stem, "verdict": {"accuracy": [1, 2]}}))
    return paths


def test_records_of_a_newer_giftbench_stay_and_are_named_once(store: RecordStore, caplog: pytest.LogCaptureFixture) -> None:
    paths = newer(store, range(3))
    before = [path.read_bytes() for path in paths]
    kept = record(3)
    store.write(kept)
    contents = store.contents()
    assert contents.records == [kept]
    assert contents.newer == dict.fromkeys(sorted(path.stem for path in paths), "giftbench.record/2")
    assert not caplog.messages
    assert store.read() == [kept]
    assert caplog.messages == [
        f"{store.folder}: 3 records made by a newer giftbench (giftbench.record/2; this one reads giftbench.record/1) are left "
        "alone; a newer giftbench shows them"
    ]
    assert [path.read_bytes() for path in paths] == before
    assert not (store.folder / "broken").exists()
    assert store.statuses() == {"made by a newer giftbench": 3, "done": 1}


def test_all_records_at_once_are_those_of_the_folder_and_collecting_garbage_goes_on(store: RecordStore) -> None:
    assert store.read() == []
    written = [record(seed, status) for seed, status in enumerate(("done", "diverged", "failed"))]
    for one in written:
        store.write(one)
    assert store.read() == list(store) == sorted(written, key=lambda one: one.id)
    assert gc.isenabled()
    gc.disable()
    try:
        assert len(store.read()) == 3
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_records_of_one_setup_keep_what_is_their_own(store: RecordStore) -> None:
    for seed in range(3):
        made = Record.of(trial(seed, method=f"method {seed}", note=f"note {seed}"), "done", metrics=METRICS | {"accuracy": seed})
        store.write(made)
    found = {one.trial.seed: one for one in store}
    assert [found[seed].trial.labels.method for seed in range(3)] == ["method 0", "method 1", "method 2"]
    assert [found[seed].metrics["accuracy"] for seed in range(3)] == [0, 1, 2]
    assert [found[seed].id for seed in range(3)] == [trial(seed).id for seed in range(3)]
    assert [found[seed].trial.labels.own for seed in range(3)] == [{"note": f"note {seed}"} for seed in range(3)]
    assert len({id(one.trial.setup) for one in found.values()}) == 1


@pytest.mark.parametrize("seed", [1.0, "1", True])
def test_a_seed_that_is_written_otherwise_reads_as_it_would_alone(store: RecordStore, seed: Any) -> None:
    for number in range(2):
        store.write(record(number))
    path = store.folder / f"{trial(1).id}.json"
    content = json.loads(path.read_bytes())
    path.write_bytes(edited(path.read_bytes(), trial=content["trial"] | {"seed": seed}))
    assert Record.model_validate_json(path.read_bytes()).trial.seed == 1
    assert statuses(store) == {trial(0).id: "done", trial(1).id: "done"}


@pytest.mark.parametrize("field", ["model", "protocol", "seed", "labels"])
def test_a_second_record_of_a_setup_is_checked_as_the_first_is(
    store: RecordStore, caplog: pytest.LogCaptureFixture, field: str
) -> None:
    for number in range(2):
        store.write(record(number))
    first, second = sorted(trial(number).id for number in range(2))
    path = store.folder / f"{second}.json"
    content = json.loads(path.read_bytes())
    path.write_bytes(edited(path.read_bytes(), trial=content["trial"] | {field: "nonsense ("}))
    assert list(statuses(store)) == [first]
    assert "broken record, set aside" in caplog.text


# -- where a record was made ----------------------------------------------------------------------------------------------


def test_an_environment_says_what_is_known_and_is_written_as_it_was_stated(store: RecordStore) -> None:
    known = {"versions": {"torch": "2.9"}, "device": "CPU", "threads": 2, "precision": "bf16", "commit": "0123456789ab+"}
    made = record(environment=known | {"queue": "night"}).environment
    assert (made.versions, made.device, made.threads, made.commit) == ({"torch": "2.9"}, "CPU", 2, "0123456789ab+")
    assert made.together == 1
    assert json.loads(store.write(record(environment=made)).read_text())["environment"] == known | {"queue": "night"}


def test_an_environment_of_another_kind_is_broken(store: RecordStore, caplog: pytest.LogCaptureFixture) -> None:
    path = store.write(record())
    path.write_bytes(edited(path.read_bytes(), environment={"threads": "two"}))
    assert statuses(store) == {}
    assert "broken record, set aside" in caplog.text
