"""Means, paired differences, tests and intervals, each with its source. Standard deviations are the sample's (ddof 1)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy
import numpy.typing
import pandas
from numpy.typing import ArrayLike

from harness.leaderboard.text import fixed

Numbers = numpy.typing.NDArray[numpy.float64]

#: The level of intervals, and what a p-value stays below where a difference is told.
CONFIDENCE, LEVEL = 0.95, 0.05
#: A spread or a difference of less, in points, is the rounding of floats and no number.
NOTHING = 1e-9
#: A step of less, in points, is none that readings are made in.
FINEST = 1e-6


@dataclass(frozen=True)
class Summary:
    """Count, mean and standard deviation (ddof 1) of some numbers; `mean` is NaN for none, `std` for fewer than two."""

    n: int
    mean: float
    std: float


@dataclass(frozen=True)
class Difference:
    """Mean of the differences between two paired samples, with a confidence interval.

    Attributes:
        n: pairs.
        mean, std: of the differences (first minus second); `std` is NaN for fewer than two pairs.
        low, high: ends of the two-sided interval; NaN for fewer than two pairs.
        confidence: the interval's level, in (0, 1).
    """

    n: int
    mean: float
    std: float
    low: float
    high: float
    confidence: float

    @property
    def entry(self) -> dict[str, object]:
        """What a table's cell says of it (`Table.with_column`): `+1.5 [0.2, 2.8]`, the interval where there is one."""
        interval = "" if math.isnan(self.low) else f" [{fixed(self.low, 1)}, {fixed(self.high, 1)}]"
        sign = "+" if self.mean >= 0 else ""
        facts = {"n": self.n, "mean": self.mean, "std": self.std, "low": self.low, "high": self.high}
        return {"value": f"{sign}{fixed(self.mean, 1)}{interval}", **facts}


def summary(values: Iterable[float]) -> Summary:
    """Return count, mean and standard deviation (ddof 1) of `values`; missing ones (NaN) are left out."""
    series = pandas.Series(list(values), dtype="float64")
    return Summary(int(series.count()), float(series.mean()), float(series.std(ddof=1)))


def summaries(frame: pandas.DataFrame, by: Sequence[str], value: str) -> pandas.DataFrame:
    """Return `n`, `mean` and `std` (ddof 1) of column `value` for each group, indexed by the columns `by`.

    Missing values are left out; a group that has nothing else is there, with n = 0. Groups keep the order of their first row.
    """
    grouped = frame.groupby(list(by), sort=False)[value]
    return pandas.DataFrame({"n": grouped.count(), "mean": grouped.mean(), "std": grouped.std(ddof=1)})


def paired_difference(first: Mapping[int, float], second: Mapping[int, float], confidence: float = 0.95) -> Difference:
    """Return the mean difference `first` minus `second` over the seeds that both have, with Student's t interval.

    The interval is mean ± t(n - 1) · std / √n. It takes the differences for a normal sample: with three seeds it is wide,
    and that is what three seeds can tell. Differences that are all alike have the spread of what they were read in (`resolved`).

    Args:
        first, second: {seed: accuracy}.
        confidence: level of the two-sided interval, in (0, 1).
    Raises: ValueError when `confidence` lies outside (0, 1).
    """
    _check_confidence(confidence)
    differences = summary(first[seed] - second[seed] for seed in sorted(first.keys() & second.keys()))
    spread = resolved(differences.std, step([*first.values(), *second.values()]))
    half = float(half_widths(differences.n, spread, confidence))
    return Difference(
        differences.n, differences.mean, differences.std, differences.mean - half, differences.mean + half, confidence
    )


def half_width(sample: Summary, confidence: float = 0.95) -> float:
    """Return half the width of Student's t interval of a mean, as `half_widths` does for many."""
    return float(half_widths([sample.n], [sample.std], confidence)[0])


def half_widths(n: ArrayLike, std: ArrayLike, confidence: float = CONFIDENCE) -> Numbers:
    """Return half the width of Student's t interval of each mean, t(n - 1) · std / √n; NaN for fewer than two values.

    Source: Student (1908), The probable error of a mean, Biometrika 6. It covers the mean of what is normal so often, at any n.

    Args:
        n, std: counts, and standard deviations (ddof 1), of one length.
    """
    from scipy.special import stdtrit

    counts, spreads = numpy.asarray(n, dtype="float64"), numpy.asarray(std, dtype="float64")
    several = counts >= 2
    safe = numpy.where(several, counts, 2.0)
    half = stdtrit(safe - 1, (1 + confidence) / 2) * spreads / numpy.sqrt(safe)
    return numpy.where(several, half, math.nan)


def paired_p(n: ArrayLike, mean: ArrayLike, std: ArrayLike) -> Numbers:
    """Return the two-sided p of each mean difference, by Student's paired t test: 2 · P(T(n - 1) > |mean| · √n / std).

    NaN for fewer than two pairs. Where all differences of a sample are the same, 1 when they are 0 and 0 when they are not.

    Args:
        n, mean, std: pairs, and mean and standard deviation (ddof 1) of their differences, of one length.
    """
    from scipy.special import stdtr

    pairs, means, spreads = (numpy.asarray(values, dtype="float64") for values in (n, mean, std))
    varies = spreads > NOTHING
    safe = numpy.where(pairs >= 2, pairs, 2.0)
    ratio = numpy.abs(means) * numpy.sqrt(safe) / numpy.where(varies, spreads, 1.0)
    p = numpy.where(varies, 2 * stdtr(safe - 1, -ratio), numpy.where(numpy.abs(means) > NOTHING, 0.0, 1.0))
    return numpy.where((pairs >= 2) & numpy.isfinite(means), p, math.nan)


def step(values: Iterable[float]) -> float:
    """Return the largest step of which all differences between these values are multiples; 0 where that is below `FINEST`.

    Accuracies of one test split are counts of its images: 0.25 for one of 400. By Euclid's algorithm.
    """
    size = 0.0
    for low, high in itertools.pairwise(sorted({*values})):
        rest = high - low
        while rest > FINEST:
            size, rest = rest, size % rest
        if 0 < size <= 2 * FINEST:
            return 0.0
    return size


def resolved(std: ArrayLike, step: ArrayLike) -> Numbers:
    """Return standard deviations of differences, each at least what the readings' step leaves open: step / √6.

    Two readings in steps are each known to half a step, of which the variance is step² / 12, and no repetition shows less:
    without it, three differences of one image each would be told from 0 with any certainty. Source: JCGM 100:2008 (GUM), F.2.2.1.

    Args:
        std: NaN stays NaN.
        step: of the readings that the differences are of, as `step` gives it.
    """
    spreads: Numbers = numpy.maximum(numpy.asarray(std, dtype="float64"), numpy.asarray(step, dtype="float64") / math.sqrt(6))
    return spreads


def holm(p: ArrayLike) -> Numbers:
    """Return p-values corrected for how many they are: the i-th smallest of m times m - i + 1, none below the one before it.

    Source: Holm (1979), A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6. Of all true hypotheses
    together one is rejected at most so often as the level says, whatever they have to do with each other. NaN stays NaN, and does
    not count.
    """
    values = numpy.asarray(p, dtype="float64")
    corrected = numpy.full(values.shape, math.nan)
    (there,) = numpy.nonzero(~numpy.isnan(values))
    order = there[numpy.argsort(values[there], kind="stable")]
    weights = numpy.arange(len(order), 0, -1)
    corrected[order] = numpy.minimum(numpy.maximum.accumulate(weights * values[order]), 1.0)
    return corrected


def untold(groups: Sequence[Mapping[str, Mapping[int, float]]]) -> list[tuple[str, ...]]:
    """Return of each group the one of the highest mean and all that cannot be told from it, in their order.

    By Student's paired t test against the best, two-sided, Holm-corrected over all groups, as tables tell ties
    (`harness.leaderboard.cells.standing`). Fewer than two pairs of seeds tell nothing.

    Args:
        groups: {name: {seed: value}}; those without a value are left out.
    """
    measured = [{name: seeds for name, seeds in group.items() if seeds} for group in groups]
    best = [max(group, key=lambda name: summary(group[name].values()).mean, default="") for group in measured]
    against = [(number, name) for number, group in enumerate(measured) for name in group if name != best[number]]
    differences = [paired_difference(measured[number][best[number]], measured[number][name]) for number, name in against]
    steps = [step(value for seeds in group.values() for value in seeds.values()) for group in measured]
    spreads = resolved([d.std for d in differences], [steps[number] for number, _ in against])
    p = holm(paired_p([d.n for d in differences], [d.mean for d in differences], spreads))
    told = {place for place, value in zip(against, p, strict=True) if value < LEVEL}
    return [tuple(name for name in group if (number, name) not in told) for number, group in enumerate(measured)]


def signed_rank(differences: Iterable[float]) -> float:
    """Return the exact two-sided p of Wilcoxon's signed-rank test; NaN where no difference is other than 0.

    Source: Wilcoxon (1945), Individual comparisons by ranking methods, Biometrics 1: differences of 0 are left out, those of one
    size share their mean rank. The distribution is that of the rank sums under all 2^n ways to give the ranks signs, ties
    included: it is counted, not approximated, so that it holds at any n.
    """
    values = numpy.array([value for value in differences if abs(value) > NOTHING])
    if not len(values):
        return math.nan
    # twice the ranks are whole numbers, and sizes that differ by no more than floats do are one size
    ranks = numpy.rint(2 * mean_ranks(numpy.round(numpy.abs(values), 9)[None])[0]).astype(int)
    ways = numpy.zeros(int(ranks.sum()) + 1)
    ways[0] = 1.0
    for rank in ranks:
        ways[rank:] = ways[rank:] + ways[: len(ways) - rank]
    share = ways / ways.sum()
    above = int(ranks[values > 0].sum())
    tail = min(share[: above + 1].sum(), share[above:].sum())
    return float(min(1.0, 2 * tail))


def mean_ranks(values: Numbers) -> Numbers:
    """Return the ranks within each row of [rows, columns], from 1 for the smallest; equal values share the mean of their ranks.

    By pandas, which a leaderboard has loaded anyway: `scipy.stats` takes 0.6 CPU seconds to import, for each board that is drawn.
    """
    return pandas.DataFrame(values).rank(axis=1).to_numpy()


def trimmed_mean(values: Numbers, share: float) -> Numbers:
    """Return the means along the last axis without the share of its smallest and of its largest values, rounded down.

    A share of 1/4 gives the interquartile mean. Source: Tukey and McLaughlin (1963), Sankhya A 25.
    """
    cut = int(share * values.shape[-1])
    kept = numpy.sort(values, axis=-1)[..., cut : values.shape[-1] - cut]
    means: Numbers = kept.mean(axis=-1)
    return means


def smallest_p(pairs: int) -> float:
    """Return the smallest two-sided p that a signed-rank or sign-flip test can give with so many pairs: 2 / 2^n, at most 1.

    Of the 2^n ways to give n differences signs, which are equally likely where nothing differs, two are the most extreme (Fisher
    1935, The Design of Experiments, section 21).
    """
    return min(1.0, 2.0 ** (1 - pairs))


def smallest_difference(std: float, pairs: int, power: float = 0.8, level: float = LEVEL) -> float:
    """Return the smallest true mean difference that a paired t test tells with this power.

    It is the δ for which P(T'(n - 1, δ · √n / std) > t) = power; T' is Student's t with its non-centrality, t the two-sided
    critical value at `level`. Source: Cohen (1988), Statistical Power Analysis for the Behavioral Sciences, section 2.3. NaN for
    fewer than two pairs.

    Args:
        std: standard deviation of the differences, in the unit of the answer.
    """
    from scipy.optimize import brentq
    from scipy.special import nctdtr, stdtrit

    if pairs < 2 or math.isnan(std):
        return math.nan
    freedom, critical = pairs - 1, float(stdtrit(pairs - 1, 1 - level / 2))

    def lacking(shift: float) -> float:
        missed = float(nctdtr(freedom, shift, critical))
        return power - (1 - missed)  # the other tail is below the level's half, and less the further the shift

    high = critical + 2.0
    while lacking(high) > 0:
        high *= 2
    return float(brentq(lacking, 0.0, high)) * std / math.sqrt(pairs)


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), not {confidence!r}")


def welch(first: Summary, second: Summary, confidence: float = 0.95) -> tuple[float, float, float]:
    """Return the difference `first` minus `second` of the means of two unpaired samples, and the ends of Welch's interval.

    The interval is the difference ± t(df) · √(s₁²/n₁ + s₂²/n₂), the degrees of freedom by Welch and Satterthwaite; it does not
    take the two variances for equal. Its ends are NaN where a sample has fewer than two values; they are the difference itself
    where neither sample varies.
    """
    from scipy.special import stdtrit

    difference = first.mean - second.mean
    if min(first.n, second.n) < 2 or math.isnan(first.std + second.std):
        return difference, math.nan, math.nan
    shares = [sample.std**2 / sample.n for sample in (first, second)]
    if not any(shares):
        return difference, difference, difference
    freedom = sum(shares) ** 2 / sum(share**2 / (sample.n - 1) for share, sample in zip(shares, (first, second), strict=True))
    half = float(stdtrit(freedom, (1 + confidence) / 2)) * math.sqrt(sum(shares))
    return difference, difference - half, difference + half
