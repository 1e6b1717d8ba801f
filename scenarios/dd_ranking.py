"""How much of a set's accuracy is owed to its images, and how much to soft labels and augmentation?"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

import harness
from harness import BoardError, LossSpec, Paper, Scenario, ScenarioOptions, Spec, at, losses, scenarios

if TYPE_CHECKING:
    import pandas

    from harness import Figure, Material, Plan, Table, Trial, Workbench

#: What DD-Ranking weighs by: w of the label-robust score, gamma of the augmentation-robust one. Its leaderboard has both at 0.5.
WEIGHT = 0.5
#: The parts of a board's trials, the last of which is also what the full train split is called.
AUGMENTED, PLAIN, REAL = "augmented", "not augmented", "all real images"
#: What is changed where nothing is augmented.
NO_AUGMENTATION = {"augmentation": "none", "mixing": "none"}
#: Labels of this scenario's own, none of which makes a setting.
OWN = ("part", "asked", "hard loss", "baseline")
#: What records have in common of which one is held against another.
SHARED = ("dataset_digest", "scenario_version", "model", "adaptation", "optimizer", "protocol", "precision", "seed")
#: The columns of a table, and what each score is made of beside the accuracy.
ACCURACY, HLR, IOR, LRS, ARS = "accuracy in %", "HLR", "IOR", "LRS", "ARS"
HARD_SET, HARD_REAL = "the set under hard labels", "all real images under hard labels"
RANDOM = "random images of its IPC"
PLAIN_SET, PLAIN_RANDOM = "the set without augmentation", "random images of its IPC without augmentation"
NEEDED = {
    HLR: (HARD_SET, HARD_REAL),
    IOR: (RANDOM,),
    LRS: (HARD_SET, HARD_REAL, RANDOM),
    ARS: (RANDOM, PLAIN_SET, PLAIN_RANDOM),
}
QUANTITIES = {
    HLR: "difference of accuracies as fractions",
    IOR: "difference of accuracies as fractions",
    LRS: "score from 0 to 1",
    ARS: "score from 0 to 1",
}
NOTES = (
    "DD-Ranking's scores (Li et al., arXiv 2505.13300), of accuracies as fractions. HLR, hard-label recovery: all real images "
    "less the set, both under hard labels; the lowest is best. IOR, improvement over random: the set less random images of its "
    "IPC, both under the row's loss. LRS, label-robust score: (exp(α) - exp(-1)) / (exp(1) - exp(-1)) of α = 0.5 IOR - 0.5 HLR. "
    "ARS, augmentation-robust score: the same of β, the mean of IOR with the protocol's augmentation and IOR without. 1 is the "
    "most; images as good as random ones have an ARS of 0.269. In brackets: 95 % interval over seeds, by which all are paired.",
    "Otherwise than there, accuracy is that after the last epoch and not the best of those on the test split, the learning rate "
    "is the protocol's and not the best of five on that split, and random images are drawn once.",
)


@scenarios.register("dd-ranking")
class DDRanking(Scenario):
    """DD-Ranking's scores: what a set is worth without soft labels and without augmentation (arXiv 2505.13300).

    As the paper's sections on the two scores and its authors' code (NUS-HPC-AI-Lab/DD-Ranking, `ddranking/metrics`) define them,
    accuracies being fractions:

        HLR = acc(real, hard) - acc(set, hard)        hard: cross-entropy with the classes
        IOR = acc(set, any) - acc(random, any)        any: a loss of the board, with the labels that it takes
        LRS = (e^alpha - e^-1) / (e - e^-1)           alpha = w IOR - (1 - w) HLR
        ARS = (e^beta - e^-1) / (e - e^-1)            beta = gamma IOR(augmented) + (1 - gamma) IOR(not augmented)

    Sets are trained under the board's protocol. The real images are the full train split, trained on under hard labels as long
    as a teacher is.
    """

    version = 1
    paper = Paper("arXiv 2505.13300")
    columns = "score"

    class Options(ScenarioOptions):
        hard_loss: LossSpec = Spec(name="ce")
        baseline: str = ""  # what the board calls its random images; the first set of method "random"
        real: bool = True  # whether the full train split is trained on; without, there are no HLR and LRS
        real_epochs: Annotated[int, Field(ge=0)] = 0  # 0: as many as a teacher of this dataset has
        real_batch_size: Annotated[int, Field(gt=0)] = 256

    def trials(self, view: Plan, options: Options) -> Iterator[Trial]:
        hard, name = options.hard_loss, losses.registry.label(options.hard_loss)
        others = [loss for loss in view.losses if loss.name != hard.name or losses.registry.label(loss) != name]
        asked = len(others) < len(view.losses)
        stated = {"hard loss": name, "baseline": _baseline(view, options.baseline), "protocol": view.protocol.label}
        ids: set[str] = set()
        for part, changes in ((AUGMENTED, {}), (PLAIN, NO_AUGMENTATION)):
            trials = [(trial, True) for trial in self.vary(view, losses=others, protocol=changes)]
            if asked or part == AUGMENTED:
                trials += [(trial, asked) for trial in self.vary(view, losses=[hard], protocol={"labels": "hard", **changes})]
            for trial, has_row in trials:
                if trial.id not in ids:  # where nothing is augmented, the one is the other
                    yield trial.labelled({"part": part, "asked": has_row, **stated})
                ids.add(trial.id)
        if options.real and view.sets:
            yield from self._real(view, options, stated)

    def _real(self, view: Plan, options: Options, stated: Mapping[str, object]) -> Iterator[Trial]:
        """Yield the trials on the full train split. They name a set, as every trial does, whose images they do not look at."""
        with at(f"{view.place}.real"):
            images = len(view.dataset.train)
        epochs = options.real_epochs or view.dataset.teacher_epochs
        changes = {"labels": "hard", "epochs": epochs, "batch_size": options.real_batch_size, "normalisation": "dataset"}
        beside = [next((prepared for prepared in view.sets if prepared.name == stated["baseline"]), view.sets[0])]
        own = {"real": images}
        said = {"part": REAL, "asked": False, "method": REAL, "ipc": None, "images": images, "native": "", "distilled_on": ""}
        for trial in self.vary(view, sets=beside, losses=[options.hard_loss], protocol=changes, options=own):
            yield trial.labelled({**stated, **said})

    def trainings(self, trial: Trial, tests: int) -> Iterator[tuple[float, float]]:
        yield float(trial.options.get("real") or trial.labels.images or 1), float(tests * trial.protocol.evaluations)

    def material(self, trial: Trial, workbench: Workbench) -> Material:
        return workbench.train_material(trial) if "real" in trial.options else workbench.material(trial)

    def tables(self, records: pandas.DataFrame) -> list[Table]:
        if records.empty:
            return []
        asked = records[(records["part"] == AUGMENTED) & records["asked"].eq(True)]
        if asked.empty:  # there is nothing yet that scores could stand beside
            return harness.pivot(records, self.rows, "part", decided=["asked", "hard loss", "baseline"], gains="")
        tables = harness.pivot(
            asked.assign(score=ACCURACY), self.rows, self.columns, decided=[*OWN, "options"], gains="", each_ipc=True
        )
        ingredients = _Ingredients.of(records)
        return [_with_scores(table.regrouped("loss"), ingredients) for table in tables]

    def figures(self, tables: Sequence[Table]) -> list[Figure]:
        scores = {LRS: "Label-robust score", ARS: "Augmentation-robust score"}
        drawn = [
            harness.dots(tables, name=f"{self.name}-{score.lower()}", title=title, x_label=score, column=score)
            for score, title in scores.items()
        ]
        return [figure for figures in drawn for figure in figures]


def normalised(value: float) -> float:
    """Return DD-Ranking's score, in [0, 1], of weighted differences of accuracies, in [-1, 1]: (e^x - e^-1) / (e - e^-1)."""
    return (math.exp(value) - math.exp(-1)) / (math.e - math.exp(-1))


def _baseline(view: Plan, name: str) -> str:
    """Return what the board calls its random images; nothing where it has none."""
    names = [prepared.name for prepared in view.sets]
    if name and name not in names:
        raise BoardError(f"{view.place}.baseline: no set {name!r} among {', '.join(map(repr, dict.fromkeys(names)))}")
    randoms = [prepared.name for prepared in view.sets if prepared.file.metadata.get("method") == "random"]
    return name or next(iter(randoms), "")


@dataclass(frozen=True)
class _Ingredients:
    """The accuracies, in [0, 1], that scores are made of.

    Attributes:
        rows: {id: a record}.
        accuracies: {what a record is of: {setup: accuracy}}; where there are several setups, no score is made of any.
    """

    rows: Mapping[str, Mapping[Hashable, Any]]
    accuracies: Mapping[tuple[str, ...], Mapping[str, float]]

    @classmethod
    def of(cls, records: pandas.DataFrame) -> _Ingredients:
        rows = {str(row["id"]): row for row in records.sort_values(["order", "id"], kind="stable").to_dict("records")}
        accuracies: dict[tuple[str, ...], dict[str, float]] = {}
        for row in rows.values():
            if row["status"] == "failed" or not math.isfinite(row.get("accuracy", math.nan)):
                continue
            for about in [()] if row["part"] == REAL else [(row["distilled"],), (row["method"], _text(row["ipc"]))]:
                place = (row["part"], row["loss"], *about, *_shared(row))
                accuracies.setdefault(place, {})[row["setup"]] = row["accuracy"] / 100
        return cls(rows, accuracies)

    def beside(self, name: str) -> dict[str, float]:
        """Return the accuracies that the scores of a record are made of, its own among them; NaN where there is none."""
        row = self.rows[name]
        loss, hard, own, random = row["loss"], row["hard loss"], (row["distilled"],), (row["baseline"], _text(row["ipc"]))
        places = {
            ACCURACY: (AUGMENTED, loss, *own),
            HARD_SET: (AUGMENTED, hard, *own),
            HARD_REAL: (REAL, hard),
            RANDOM: (AUGMENTED, loss, *random),
            PLAIN_SET: (PLAIN, loss, *own),
            PLAIN_RANDOM: (PLAIN, loss, *random),
        }
        setups = {words: self.accuracies.get((*place, *_shared(row)), {}) for words, place in places.items()}
        return {words: next(iter(by.values())) if len(by) == 1 else math.nan for words, by in setups.items()}

    @property
    def real(self) -> str:
        """What is to be said of all real images; nothing where there is no record of them."""
        rows = [row for row in self.rows.values() if row["part"] == REAL and row["status"] != "failed"]
        of = harness.statistics.summary(row["accuracy"] for row in rows)
        epochs = " or ".join(dict.fromkeys(_text(row["epochs"]) for row in rows))
        return f" All real images: {harness.fixed(of.mean, 1)} % after {epochs} epochs (n = {of.n})." if of.n else ""


def _shared(row: Mapping[Hashable, Any]) -> tuple[str, ...]:
    return tuple(_text(row.get(name)) for name in SHARED)


def _text(value: object) -> str:
    return "" if value is None or value != value else f"{value:g}" if isinstance(value, float) else str(value)


def _scores(here: Mapping[str, float]) -> dict[str, float]:
    """Return the four scores of the accuracies that `_Ingredients.beside` gives; NaN where one is missing."""
    hlr, ior = here[HARD_REAL] - here[HARD_SET], here[ACCURACY] - here[RANDOM]
    plain = here[PLAIN_SET] - here[PLAIN_RANDOM]
    alpha, beta = WEIGHT * ior - (1 - WEIGHT) * hlr, WEIGHT * ior + (1 - WEIGHT) * plain
    return {HLR: hlr, IOR: ior, LRS: normalised(alpha), ARS: normalised(beta)}


def _with_scores(table: Table, ingredients: _Ingredients) -> Table:
    """Return the table, rows being sets, with the scores of each beside its accuracy."""
    entries: dict[str, dict[tuple[str, str, str], dict[str, Any]]] = {score: {} for score in NEEDED}
    scored: dict[tuple[str, str, str, str], dict[int, float]] = {}
    lacking: dict[str, dict[str, None]] = {}
    assert table.records is not None
    cells = {(cell["method"], cell["row"], cell["ipc"]): cell for cell in table.cells.to_dict("records")}
    for place, cell in cells.items():
        of_cell = (table.records[["method", "row", "ipc"]] == [*place]).all(axis="columns")
        records = table.records[of_cell].dropna(subset=["accuracy"])
        beside = {int(seed): ingredients.beside(name) for seed, name in zip(records["seed"], records["id"], strict=True)}
        facts = {name: cell[name] for name in ("dataset", "optimizer", "model", "distilled")}
        for score in NEEDED:
            by_seed = {seed: value for seed, here in beside.items() if math.isfinite(value := _scores(here)[score])}
            entries[score][place] = {**facts, **_entry([*by_seed.values()], len(beside))}
            scored[(*place, score)] = by_seed
        for words in (words for here in beside.values() for words, accuracy in here.items() if math.isnan(accuracy)):
            lacking.setdefault(words, {})[place[1]] = None
    for score, column in entries.items():
        table = table.with_column(score, column, QUANTITIES[score])
    table = table.ranked(scored, lowest=[HLR])
    table.notes[1:1] = [NOTES[0] + ingredients.real, NOTES[1], *(_lack(words, [*rows]) for words, rows in lacking.items())]
    return table


def _lack(words: str, rows: Sequence[str]) -> str:
    """Return a sentence on an ingredient of scores that some sets lack, for some seed at least."""
    scores = [score for score, needed in NEEDED.items() if words in needed]
    return f"{' and '.join(scores)} of {' and '.join(rows)}: the board has not, for each seed, the one record of {words}."


def _entry(values: Sequence[float], seeds: int) -> dict[str, Any]:
    """Return what a score's cell shows: `0.512 [0.493, 0.531]`, and of how many seeds where that is not all of them."""
    of = harness.statistics.summary(values)
    if not of.n:
        return {"value": "—"}
    half = harness.statistics.half_width(of)
    low, high = of.mean - half, of.mean + half
    interval = "" if math.isnan(half) else f" [{harness.fixed(low, 3)}, {harness.fixed(high, 3)}]"
    numbers = {"n": of.n, "mean": of.mean, "std": of.std, "low": low, "high": high, "decimals": 3}
    return {"value": harness.fixed(of.mean, 3) + interval, "suffix": f" (n={of.n})" if of.n < seeds else "", **numbers}
