"""Tables as LaTeX: what is bold, what names may hold, and what a page of it shows."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.leaderboard.latex import table_tex, tex
from harness.leaderboard.tables import pivot

#: Where there is no more than texlive-latex-base, lines stand for the rules of booktabs.
PREAMBLE = r"""\documentclass{article}
\usepackage[a4paper,margin=1cm,landscape]{geometry}
\IfFileExists{booktabs.sty}{\usepackage{booktabs}}{%
  \def\toprule{\hline}\def\midrule{\hline}\def\bottomrule{\hline}\def\cmidrule(##1)##2{\cline{##2}}}
\usepackage{textcomp}
\begin{document}
\input{table}
\end{document}
"""
HOSTILE = r"50% of_my {set} & \input{/etc/passwd} #1 $x^2$ ~ <b> | \"quoted\" 'é ü ł 汉 ± ↑ -- ---`"


def planted(planter):
    """Plant a board of two sets, of which one is called by all that LaTeX reads as its own."""
    for method in ("RDED", HOSTILE):
        for ipc in (1, 10):
            for loss, level in (("kl", 60.0), ("gift", 70.0), ("ce", 69.9)):
                for optimizer in ("sgd", "adamw"):
                    planter.cell(level, level + 0.4, level + 0.1, method=method, ipc=ipc, loss=loss, optimizer=optimizer)
    return pivot(planter.frame)


def test_ties_are_bold_as_in_the_table_and_columns_stand_under_their_ipc(planter):
    (table,) = planted(planter)
    text = table_tex([("cross-optimizer", table)])
    assert text.count(r"\textbf{") == sum(bold for bold, _ in table.marks().values())
    assert text.count(r"\underline{") == sum(underlined for _, underlined in table.marks().values())
    assert r"& & \multicolumn{2}{c}{IPC 1} & \multicolumn{2}{c}{IPC 10} \\" in text
    assert r"\cmidrule(lr){3-4}\cmidrule(lr){5-6}" in text
    assert r"set & loss & sgd & adamw & sgd & adamw \\" in text
    assert r"\label{tab:cross-optimizer-1}" in text
    rows = [line for line in text.splitlines() if re.match(r".* & (kl|gift|ce) & ", line)]
    assert len(rows) == 6
    assert all(line.count(" & ") == 5 for line in rows), "an ampersand in a name makes no column"
    assert r"60.2 {\scriptsize $\pm$ 0.2" in rows[0] or r"60.2} {\scriptsize $\pm$ 0.2" in rows[0]


def test_a_caption_says_what_is_under_which_columns_and_how_it_spreads(planter) -> None:
    for gamma in ("0.1", "0.5"):
        planter.cell(60.0, 61.5, 63.0, loss="gift", gamma=gamma)
    (table,) = pivot(planter.frame, columns="gamma")
    place = ("RDED", "gift", "10")
    table = table.with_column("best", {place: {"value": "0.1"}}, "gamma of the highest mean")
    table = table.with_column("there", {place: {"value": "61.5 [57.8, 65.2]"}})
    text = table_tex([("gamma-sweep", table)])
    (caption,) = re.findall(r"\\caption\{(.*)\}", text)
    assert caption == (
        r"gamma{-}sweep: digits, IPC 10. 0.1 and 0.5: accuracy in \%, mean $\pm$ standard deviation; "
        r"best: gamma of the highest mean; there: accuracy in \%, mean and 95 \% interval."
    )
    assert r"set & loss by gamma & 0.1 & 0.5 & best & there \\" in text
    planter.cell(80.0, 81.0, loss="kl", gamma="0.1")
    (table,) = pivot(planter.frame, columns="gamma")
    assert "In small: points above or below the native loss" in table_tex([("gamma-sweep", table)])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a_b & 5%", r"a\_b \& 5\%"),
        ("\\input{x}", r"\textbackslash{}input\{x\}"),
        ("é ü č", r"\'{e} \"{u} \v{c}"),
        ("汉", "?"),
        ("kl(rescale)\n ↑3.2†", r"kl(rescale) $\uparrow$3.2$^{\dagger}$"),
        ("a--b", "a{-}{-}b"),
    ],
)
def test_text_is_shown_as_it_is(text: str, shown: str) -> None:
    assert tex(text) == shown


def test_it_compiles_and_the_page_shows_the_table(planter, tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not here: Debian's texlive-latex-base has it")
    (table,) = planted(planter)
    (tmp_path / "table.tex").write_text(table_tex([("cross-optimizer", table)]), encoding="utf-8")
    (tmp_path / "paper.tex").write_text(PREAMBLE, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Undefined" not in done.stdout
    if shutil.which("pdftotext") is None:
        pytest.skip("it compiles; pdftotext is not here to read the page: Debian's poppler-utils has it")
    subprocess.run(["pdftotext", "-layout", "paper.pdf"], cwd=tmp_path, check=True)
    page = (tmp_path / "paper.txt").read_text("utf-8", errors="replace")
    assert "IPC 10" in page and "70.2 ± 0.2" in page
    assert r"50% of my {set} & \input{" in page, "names are shown as they are; an underscore is drawn as a line"
