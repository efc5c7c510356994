"""Arrays to numbers: verification, retrieval and their uncertainty. Pure NumPy.

Distances are small where two photos are alike. A pair is accepted as one person when its distance is low enough. A pair
that could not be compared is an error at every threshold: infinity where it is genuine, minus infinity where not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A number with its confidence interval."""

    value: float
    low: float
    high: float


def best_threshold(distances: Floats, same: Bools) -> float:
    """The threshold t that makes `distance <= t` right for most of the pairs (n,); of several, the middle one.

    It lies half-way between two distances. Pairs that could not be compared have no say.
    """
    finite = np.isfinite(distances)
    order = np.argsort(distances[finite], kind="stable")
    values, genuine = distances[finite][order], same[finite][order]
    accepted = np.concatenate([[0], np.cumsum(genuine)])
    right = accepted + (len(genuine) - genuine.sum()) - (np.arange(len(genuine) + 1) - accepted)
    padded = np.concatenate([[values[0] - 1], values, [values[-1] + 1]])
    possible = np.flatnonzero(np.diff(padded) > 0)  # no cut goes through pairs of equal distance
    best = possible[right[possible] == right[possible].max()]
    cut = best[len(best) // 2]
    return float(padded[cut] + padded[cut + 1]) / 2


def fold_accuracies(distances: Floats, same: Bools, folds: Ints) -> tuple[Floats, Floats]:
    """Accuracy and threshold of each fold, the threshold chosen on the other folds (LFW's View 2)."""
    accuracies, thresholds = [], []
    for fold in np.unique(folds):
        held_out = folds == fold
        threshold = best_threshold(distances[~held_out], same[~held_out])
        thresholds.append(threshold)
        accuracies.append(np.mean((distances[held_out] <= threshold) == same[held_out]))
    return np.array(accuracies), np.array(thresholds)


def standard_error(values: Floats) -> float:
    """Standard error of the mean of independent values, as LFW reports it; 0 for a single one."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def roc(genuine: Floats, impostor: Floats) -> tuple[Floats, Floats]:
    """False-accept and true-accept rate, each (m,), at every distance that occurs, from (0, 0) upwards."""
    thresholds = np.unique(np.concatenate([genuine, impostor]))
    far = np.searchsorted(np.sort(impostor), thresholds, side="right") / len(impostor)
    tar = np.searchsorted(np.sort(genuine), thresholds, side="right") / len(genuine)
    return np.concatenate([[0.0], far]), np.concatenate([[0.0], tar])


def auc(genuine: Floats, impostor: Floats) -> float:
    """Area under the ROC curve: how often a genuine pair is closer than an impostor pair, ties counting half."""
    ordered = np.sort(genuine)
    closer = np.searchsorted(ordered, impostor, side="left")
    tied = np.searchsorted(ordered, impostor, side="right") - closer
    return float(np.mean(closer + tied / 2) / len(genuine))


def equal_error_rate(genuine: Floats, impostor: Floats) -> float:
    """Where the false-accept rate equals the false-reject rate, on the straight line between two points of the ROC."""
    far, tar = roc(genuine, impostor)
    excess = far - (1 - tar)
    after = int(np.argmax(excess >= 0))
    before = after - 1
    share = -excess[before] / (excess[after] - excess[before])
    return float(far[before] + share * (far[after] - far[before]))


def tar_at_far(genuine: Floats, impostor: Floats, far: float) -> tuple[float, float]:
    """Share of genuine distances accepted while at most `far` of the impostors are, and the limit they stay below."""
    allowed = int(far * len(impostor) + 1e-9)  # 0.01 * 300 is 2.9999...
    limit = float(np.sort(impostor)[allowed]) if allowed < len(impostor) else np.inf
    return float(np.mean(genuine < limit)), limit


@dataclass(frozen=True)
class Reliability:
    """Probabilities held against what came true, in bins of equal width over 0 to 1; bins without a case are left out.

    Each has its `count`, the mean of the probabilities in it (`said`) and the share that came true (`true`). `error`
    is the expected calibration error: the mean gap between the two, every case counting alike.
    """

    count: tuple[int, ...]
    said: tuple[float, ...]
    true: tuple[float, ...]
    error: float


def reliability(probabilities: Floats, outcomes: Bools, bins: int, weights: Floats | None = None) -> Reliability:
    """How far probabilities (n,) of outcomes (n,) can be believed. Naeini, Cooper and Hauskrecht (2015)."""
    number = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    counts = np.bincount(number, minlength=bins)
    filled = counts > 0
    weights = np.ones(len(number)) if weights is None else weights
    shares = np.bincount(number, weights, bins)[filled]
    said = np.bincount(number, weights * probabilities, bins)[filled] / shares
    true = np.bincount(number, weights * outcomes, bins)[filled] / shares
    error = float(shares @ np.abs(said - true)) / max(float(shares.sum()), 1)
    return Reliability(tuple(counts[filled].tolist()), tuple(said.tolist()), tuple(true.tolist()), error)


def recall_at(relevant: Bools, totals: Ints, k: int) -> Floats:
    """Recall@k of each query, of what k can hold: relevant results (q, n) among the first k, by min(total, k)."""
    found: Floats = relevant[:, :k].sum(axis=1) / np.minimum(totals, k)
    return found


def precision_at(relevant: Bools, k: int) -> Floats:
    """Precision@k of each query."""
    found: Floats = relevant[:, :k].sum(axis=1) / k
    return found


def r_precision(relevant: Bools, totals: Ints) -> Floats:
    """Precision of each query among its first R results, R being how many relevant photos there are."""
    found: Floats = _within(relevant, totals).sum(axis=1) / totals
    return found


def average_precision_at_r(relevant: Bools, totals: Ints) -> Floats:
    """AP@R of each query: the precisions at the relevant ones of its first R results, summed and divided by R.

    Musgrave, Belongie and Lim, "A Metric Learning Reality Check" (2020). Its mean is mAP@R.
    """
    return average_precision(_within(relevant, totals), totals)


def average_precision(relevant: Bools, totals: Ints) -> Floats:
    """Average precision of each query over the results (q, n) it has; what was not found counts as 0."""
    precisions = np.cumsum(relevant, axis=1) / np.arange(1, relevant.shape[1] + 1)
    summed: Floats = (precisions * relevant).sum(axis=1) / totals
    return summed


def _within(relevant: Bools, totals: Ints) -> Bools:
    within: Bools = relevant & (np.arange(relevant.shape[1]) < totals[:, None])
    return within


def cmc(relevant: Bools, ranks: int) -> Floats:
    """Cumulative match characteristic: share of queries with a relevant result at rank 1, 2, ..., `ranks`."""
    within: Floats = np.logical_or.accumulate(relevant[:, :ranks], axis=1).mean(axis=0)
    return within


def majority(labels: Ints) -> Ints:
    """The label that most of each row (q, k) has, the nearer one of a tie; -1 has no vote."""
    votes = (labels[:, :, None] == labels[:, None, :]).sum(axis=2) * (labels >= 0)
    winner: Ints = np.take_along_axis(labels, votes.argmax(axis=1)[:, None], axis=1)[:, 0]
    return winner


def resampled_people(people: int, resamples: int, seed: int) -> Floats:
    """Bootstrap over people: how often each is drawn in each resample, (resamples, people)."""
    drawn = np.random.default_rng(seed).multinomial(people, np.full(people, 1 / people), size=resamples)
    return drawn.astype(np.float64)


@dataclass(frozen=True)
class Resampled:
    """A figure, and what it is in each bootstrap resample of people, (resamples,); NaN in one without a case of it."""

    value: float
    resamples: Floats

    @property
    def estimate(self) -> Estimate:
        """The figure with the percentile interval of its resamples."""
        tail = (1 - CONFIDENCE) / 2
        known = self.resamples[~np.isnan(self.resamples)]
        low, high = np.quantile(known, [tail, 1 - tail]) if len(known) else (self.value, self.value)
        return Estimate(self.value, float(low), float(high))

    @property
    def p_value(self) -> float:
        """Two-sided p-value of the figure being 0, its error normal with the resamples' standard deviation.

        A thousand resamples alone cannot show a p-value as small as many comparisons ask for.
        """
        known = self.resamples[~np.isnan(self.resamples)]
        error = float(np.std(known)) if len(known) else 0.0
        if not error or not self.value:
            return float(not self.value)
        return math.erfc(abs(self.value) / error / math.sqrt(2))

    def less(self, other: Resampled) -> Resampled:
        """What this has over another of the same queries: its interval is far narrower than either's own."""
        return Resampled(self.value - other.value, self.resamples - other.resamples)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values (m,) of m comparisons corrected together, so that 5 % is the risk of any false one. Holm (1979)."""
    order = np.argsort(p_values)
    corrected = np.empty(len(p_values))
    corrected[order] = np.maximum.accumulate(np.arange(len(p_values), 0, -1) * np.array(p_values)[order])
    return [min(value, 1.0) for value in corrected.tolist()]


def mean_over_people(values: Floats, people: Ints, drawn: Floats) -> Resampled:
    """Mean of values (n,) that belong to people (n,), resampled by `resampled_people`."""
    sums = drawn @ np.bincount(people, values, drawn.shape[1])
    return Resampled(float(values.mean()), _shares(sums, drawn @ np.bincount(people, minlength=drawn.shape[1])))


def _shares(sums: Floats, counts: Floats) -> Floats:
    """Means of each resample; NaN where it has no case."""
    means: Floats = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return means


def times_drawn(people: Ints, drawn: Floats) -> Floats:
    """How often those who belong to people (n,) are drawn, (resamples, n); a pair (n, 2), as often as both together."""
    if people.ndim == 1:
        return drawn[:, people]
    first, second = people.T
    times: Floats = np.where(first == second, drawn[:, first], drawn[:, first] * drawn[:, second])
    return times


def tar_over_people(genuine: tuple[Floats, Ints], impostor: tuple[Floats, Ints], far: float, drawn: Floats) -> Estimate:
    """`tar_at_far` of distances that belong to people, or to pairs of them, given as (distances, people).

    The limit is set anew in every resample, for it depends on the impostors drawn.
    """
    order = np.argsort(impostor[0])
    limits = np.append(impostor[0][order], np.inf)
    rates = []
    for times in drawn:
        weights = times_drawn(impostor[1][order], times[None])[0]
        reached = np.cumsum(weights)
        limit = limits[np.searchsorted(reached, far * reached[-1] + 1e-9, side="right")]
        drawn_genuine = times_drawn(genuine[1], times[None])[0]
        if drawn_genuine.any() and reached[-1]:
            rates.append(drawn_genuine[genuine[0] < limit].sum() / drawn_genuine.sum())
    return Resampled(tar_at_far(genuine[0], impostor[0], far)[0], np.array(rates)).estimate


def fold_accuracy_over_people(distances: Floats, same: Bools, folds: Ints, people: Ints, drawn: Floats) -> Resampled:
    """The share of pairs (n,) of people (n, 2) judged rightly by `fold_accuracies`.

    Every resample chooses its thresholds anew.
    """
    order = np.argsort(distances, kind="stable")
    sorted_distances = np.append(distances[order], np.inf)  # what is infinite can never be accepted
    cuts = np.flatnonzero(sorted_distances[:-1] != sorted_distances[1:])  # after these, in order
    weights = times_drawn(people[order], drawn)
    signed, right = np.where(same[order], weights, -weights), np.zeros(len(drawn))
    for fold in np.unique(folds):
        held_out = folds[order] == fold
        gained = np.cumsum(np.where(held_out, 0, signed), axis=1)[:, cuts]
        cut = cuts[gained.argmax(axis=1)]
        accepted = np.cumsum(np.where(held_out, signed, 0), axis=1)[np.arange(len(drawn)), cut]
        right += accepted + (weights * (held_out & ~same[order])).sum(axis=1)
    accuracies, _ = fold_accuracies(distances, same, folds)
    value = float(np.average(accuracies, weights=np.unique(folds, return_counts=True)[1]))
    return Resampled(value, _shares(right, weights.sum(axis=1)))
