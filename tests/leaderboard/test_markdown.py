"""Tables as GitHub Markdown."""

from __future__ import annotations

from harness.leaderboard.markdown import grid, markdown
from harness.leaderboard.tables import pivot
from tests.leaderboard.looking import only

GOLDEN = """\
### digits

| set    | loss        |                IPC 1 / sgd |              IPC 1 / adamw |               IPC 10 / sgd |             \
IPC 10 / adamw |
|:-------|:------------|---------------------------:|---------------------------:|---------------------------:|---------\
------------------:|
| RDED   | kl (native) |                 72.0 ± 1.4 |                 72.0 ± 1.4 |                 81.0 ± 1.4 |                \
 81.0 ± 1.4 |
|        | gift        | **<u>77.1 ± 1.4</u>** ↑5.1 | **<u>77.1 ± 1.4</u>** ↑5.1 | **<u>86.1 ± 1.4</u>** ↑5.1 | **<u>86.1 ± \
1.4</u>** ↑5.1 |
|        | ce          |     **61.0 ± 0.0** (-11.0) |     **61.0 ± 0.0** (-11.0) |     **70.0 ± 0.0** (-11.0) |     **70.0 ± \
0.0** (-11.0) |
| Random | kl (native) |      **<u>72.0 ± 1.4</u>** |      **<u>72.0 ± 1.4</u>** |      **<u>81.0 ± 1.4</u>** |      **<u>81.0 \
± 1.4</u>** |
|        | gift        |        **71.6 ± 1.4** ↓0.4 |        **71.6 ± 1.4** ↓0.4 |        **80.6 ± 1.4** ↓0.4 |        \
**80.6 ± 1.4** ↓0.4 |
|        | ce          |     **61.0 ± 0.0** (-11.0) |     **61.0 ± 0.0** (-11.0) |     **70.0 ± 0.0** (-11.0) |     **70.0 ± \
0.0** (-11.0) |

- Accuracy in percent on the test split after the last epoch, mean ± standard deviation (ddof 1). n = 2 seeds (0, 1).
- Bold: the best of a set's rows in its column and all that cannot be told from it (t test of the differences paired by seed, \
5 %, Holm-corrected over the table, comparisons: 16); underlined: the best mean of several bold ones; ↑ ↓: points above or \
below the set's native loss in the same column; in brackets: such points, the 95 % interval of the differences by seed holding \
0.
- With 2 pairs of seeds the smallest p that a signed-rank or sign-flip test can give is 0.5: too few seeds to tell; the t test \
tells what it does by taking differences for normal.
- Dataset: digits. Sets: RDED IPC 1 (10 images, `a1aa35df`), IPC 10 (100 images, `0c078c40`), native loss kl; Random IPC 1 (10 \
images, `6cb21671`), IPC 10 (100 images, `b5920308`), native loss kl.
- Teacher: convnet3(width=64), 98.2 % on the test split; not used by ce.
- Protocol: quick: 150 epochs, batch size 10 at IPC 1, 50 at IPC 10, augmentation color_crop, float32.
- Model: convnet3.
- Optimizers (learning rate): sgd (0.1), adamw (0.001).
- Device: CPU Test; torch 2.9.1.
"""


def test_a_small_table_reads_as_printed_here(planter):
    for optimizer, rate in (("sgd", 0.1), ("adamw", 0.001)):
        for method in ("RDED", "Random"):
            for ipc, images, batch in ((1, 10, 10), (10, 100, 50)):
                base = {"optimizer": optimizer, "learning_rate": rate, "method": method, "ipc": ipc, "images": images}
                base["batch_size"] = batch
                better = 5.1 if method == "RDED" else -0.42
                planter.cell(70 + ipc + better, 72 + ipc + better, loss="gift", **base)
                planter.cell(70 + ipc, 72 + ipc, loss="kl", **base)
                planter.cell(60 + ipc, 60 + ipc, loss="ce", teacher="", teacher_accuracy=None, **base)
    assert markdown(only(planter.frame)) == GOLDEN


def test_labels_that_look_like_markdown_are_shown_as_they_are(planter):
    planter.cell(50.0, loss="kl(x='a|b*')", method="<b>")
    line = markdown(only(planter.frame)).splitlines()[4]
    assert r"\<b>" in line
    assert r"kl(x='a\|b\*')" in line


def test_notes_fold_away_but_footnotes_stay(planter):
    planter.cell(80.0, loss="kl")
    planter.plant(status="failed", loss="ce", error="boom")
    text = markdown(only(planter.frame), level=0, fold=True)
    visible, _, folded = text.partition("<details>")
    assert "(a) failed: `boom`" in visible
    assert "- Accuracy in percent" in folded
    assert not text.startswith("#")


def test_bare_numbers_are_named_in_the_corner(planter):
    for gamma in (0.1, 0.5):
        planter.cell(80.0, gamma=gamma)
    (table,) = pivot(planter.frame, columns="gamma")
    assert grid(table).splitlines()[0].split("|")[2].strip() == "loss by gamma"
