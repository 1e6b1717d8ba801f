"""Mean, standard deviation and paired differences. Standard deviations are the sample's (ddof 1) everywhere."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas

from harness.leaderboard.text import fixed


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
    and that is what three seeds can tell.

    Args:
        first, second: {seed: accuracy}.
        confidence: level of the two-sided interval, in (0, 1).
    Raises: ValueError when `confidence` lies outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), not {confidence!r}")
    differences = summary(first[seed] - second[seed] for seed in sorted(first.keys() & second.keys()))
    half = half_width(differences, confidence)
    return Difference(
        differences.n, differences.mean, differences.std, differences.mean - half, differences.mean + half, confidence
    )


def half_width(sample: Summary, confidence: float = 0.95) -> float:
    """Return half the width of Student's t interval of a mean, t(n - 1) · std / √n; NaN for fewer than two values."""
    from scipy.special import stdtrit

    return math.nan if sample.n < 2 else float(stdtrit(sample.n - 1, (1 + confidence) / 2)) * sample.std / math.sqrt(sample.n)


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
