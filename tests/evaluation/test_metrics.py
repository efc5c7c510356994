"""Every metric against a table worked by hand; verification, ROC and average precision against scikit-learn as well."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from pipeline.evaluation import metrics
from pipeline.evaluation.metrics import Estimate

INF = np.inf


def array(*values: float) -> np.ndarray:
    return np.array(values, float)


def flags(text: str) -> np.ndarray:
    """Rows of x (relevant) and - (not)."""
    return np.array([[mark == "x" for mark in row] for row in text.split()])


# distance   .1   .2   .3   .4   .5   .6
# genuine     x    x    -    x    -    -     a cut after .2 or after .4 leaves one error
PAIRS = array(0.1, 0.2, 0.3, 0.4, 0.5, 0.6), flags("xx-x--")[0]


@pytest.mark.parametrize(
    ("distances", "same", "threshold"),
    [
        (array(0.1, 0.2, 0.6, 0.8), flags("xx--")[0], 0.4),
        (*PAIRS, 0.45),  # the cuts .25 and .45 are as good: the later of two in the middle
        (array(0.3, 0.1, 0.5, 0.7, 0.9), flags("-x-x-")[0], 0.2),  # .2 one error; .8 two
        (array(0.1, 0.2, 0.2, 0.2, 0.3), flags("xx-x-")[0], 0.25),  # no cut inside the three at .2
        (array(0.1, 0.6, INF, INF, INF, -INF), flags("x-xxx-")[0], 0.35),
    ],
)
def test_the_threshold_that_is_right_most_often(distances: np.ndarray, same: np.ndarray, threshold: float) -> None:
    assert metrics.best_threshold(distances, same) == pytest.approx(threshold)


def test_all_of_one_kind_are_all_accepted_or_all_rejected() -> None:
    assert metrics.best_threshold(array(0.1, 0.4), flags("xx")[0]) > 0.4
    assert metrics.best_threshold(array(0.1, 0.4), flags("--")[0]) < 0.1


def test_each_folds_threshold_comes_from_the_others() -> None:
    distances = array(0.2, 0.6, 0.4, 0.8, 0.3, 0.9)
    same, folds = flags("x-x-x-")[0], np.array([1, 1, 2, 2, 3, 3])
    accuracies, thresholds = metrics.fold_accuracies(distances, same, folds)
    # Without fold 1: .3 .4 | .8 .9, cut .6, which accepts the impostor at .6. Without 2: .2 .3 | .6 .9, cut .45.
    # Without 3: .2 .4 | .6 .8, cut .5.
    assert thresholds == pytest.approx([0.6, 0.45, 0.5])
    assert accuracies.tolist() == [0.5, 1, 1]


def test_a_pair_that_cannot_be_compared_is_an_error() -> None:
    distances, same = array(0.1, 0.9, INF, -INF, 0.1, 0.9), flags("x-x-x-")[0]
    accuracies, _ = metrics.fold_accuracies(distances, same, np.array([1, 1, 1, 1, 2, 2]))
    assert accuracies.tolist() == [0.5, 1]


def test_standard_error() -> None:
    assert metrics.standard_error(array(1, 2, 3, 4)) == pytest.approx(np.sqrt(5 / 3) / 2)
    assert metrics.standard_error(array(1)) == 0


# genuine .1 .2 .4 and impostor .3 .4 .6:  t   .1   .2   .3   .4   .6
#                                         TAR  1/3  2/3  2/3   1    1
#                                         FAR   0    0   1/3  2/3   1
GENUINE, IMPOSTOR = array(0.4, 0.1, 0.2), array(0.6, 0.3, 0.4)


def test_roc() -> None:
    far, tar = metrics.roc(GENUINE, IMPOSTOR)
    assert (far * 3).tolist() == pytest.approx([0, 0, 0, 1, 2, 3])
    assert (tar * 3).tolist() == pytest.approx([0, 1, 2, 2, 3, 3])


def test_auc_counts_a_tie_half() -> None:
    assert metrics.auc(GENUINE, IMPOSTOR) == pytest.approx((3 + 2.5 + 2) / 9)
    assert metrics.auc(array(INF, 0.1), array(0.5, -INF)) == pytest.approx(1 / 4)


def test_equal_error_rate() -> None:
    assert metrics.equal_error_rate(GENUINE, IMPOSTOR) == pytest.approx(1 / 3)
    # From (0, 0) to (1/2, 1): FAR = 1 - TAR at 1/3 of the way... FAR 1/2 s, FRR 1 - s: s = 2/3, rate 1/3.
    assert metrics.equal_error_rate(array(0.5), array(0.5, 0.9)) == pytest.approx(1 / 3)
    assert metrics.equal_error_rate(array(0.1), array(0.9)) == 0
    assert metrics.equal_error_rate(array(0.9), array(0.1)) == 1


@pytest.mark.parametrize(
    ("far", "tar", "limit"),
    [(0, 2 / 3, 0.3), (0.33, 2 / 3, 0.3), (1 / 3, 2 / 3, 0.4), (2 / 3, 1, 0.6), (1, 1, INF)],
)
def test_true_accepts_at_a_rate_of_false_ones(far: float, tar: float, limit: float) -> None:
    assert metrics.tar_at_far(GENUINE, IMPOSTOR, far) == pytest.approx((tar, limit))


def test_a_rate_that_is_a_whole_number_of_pairs_is_not_rounded_down() -> None:
    impostor = np.arange(300.0)
    assert 0.57 * 300 < 171  # what floating point makes of it
    assert metrics.tar_at_far(array(170.5), impostor, 0.57) == (1, 171)


# First query: 3 relevant photos, found at ranks 1 and 3. Second: 1, found at rank 2. Third: 2, none found.
RELEVANT, TOTALS = flags("x-x- -x-- ----"), np.array([3, 1, 2])


def test_retrieval() -> None:
    assert metrics.recall_at(RELEVANT, TOTALS, 2).tolist() == [1 / 2, 1, 0]
    assert metrics.recall_at(RELEVANT, TOTALS, 4).tolist() == [2 / 3, 1, 0]
    assert metrics.precision_at(RELEVANT, 4).tolist() == [2 / 4, 1 / 4, 0]
    assert metrics.r_precision(RELEVANT, TOTALS).tolist() == [2 / 3, 0, 0]
    assert metrics.average_precision_at_r(RELEVANT, TOTALS).tolist() == pytest.approx([(1 + 2 / 3) / 3, 0, 0])
    assert metrics.average_precision(RELEVANT, TOTALS).tolist() == pytest.approx([(1 + 2 / 3) / 3, 1 / 2, 0])
    assert metrics.cmc(RELEVANT, 3).tolist() == pytest.approx([1 / 3, 2 / 3, 2 / 3])


def test_the_majority_of_the_nearest() -> None:
    labels = np.array([[5, 7, 7], [5, 7, 5], [5, 6, 7], [-1, -1, 4], [9, 8, 8]])
    assert metrics.majority(labels).tolist() == [7, 5, 5, 4, 8]
    assert metrics.majority(np.array([[-1, -1]])).tolist() == [-1]


DRAWN = array(1, 1, 1, 2, 0, 1, 0, 3, 0).reshape(3, 3)  # three resamples of three people


def ends(*resampled: float) -> tuple[float, float]:
    """The percentile interval of a few resampled values."""
    return float(np.quantile(resampled, 0.025)), float(np.quantile(resampled, 0.975))


def test_the_bootstrap_draws_people_with_all_their_photos() -> None:
    estimate = metrics.mean_over_people(array(1, 0, 1, 1), np.array([0, 1, 1, 2]), DRAWN).estimate
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((3 / 4, *ends(3 / 4, 1, 3 / 6)))


def test_a_pair_is_drawn_as_often_as_both_people_together() -> None:
    pairs = np.array([[0, 0], [0, 1], [0, 2], [1, 1]])
    assert metrics.times_drawn(pairs, DRAWN).tolist() == [[1, 1, 1, 1], [2, 0, 2, 0], [0, 0, 0, 3]]


def test_the_interval_of_a_difference_is_that_of_the_same_people() -> None:
    people = np.array([0, 1, 1, 2])
    one = metrics.mean_over_people(array(1, 0, 0, 0), people, DRAWN)
    other = metrics.mean_over_people(array(1, 1, 0, 1), people, DRAWN)
    # Gained: 0, 1, 0, 1. By resample: 2 of 4; 1 of 3; 3 of 6.
    gained = other.less(one).estimate
    assert (gained.value, gained.low, gained.high) == pytest.approx((1 / 2, *ends(2 / 4, 1 / 3, 3 / 6)))


def test_a_resample_without_a_case_has_no_say() -> None:
    resampled = metrics.mean_over_people(array(1, 0), np.array([1, 2]), DRAWN)
    assert resampled.resamples == pytest.approx([1 / 2, 0, 1])
    without = metrics.mean_over_people(array(1, 0), np.array([0, 2]), DRAWN)
    assert np.isnan(without.resamples).tolist() == [False, False, True]
    assert (without.estimate.low, without.estimate.high) == pytest.approx(ends(1 / 2, 2 / 3))


def test_p_values_are_those_of_the_normal_distribution() -> None:
    resamples = np.random.default_rng(0).normal(0.3, 0.2, 50)
    resampled = metrics.Resampled(0.3, np.append(resamples, np.nan))
    expected = 2 * norm.sf(0.3 / resamples.std())
    assert resampled.p_value == pytest.approx(expected)
    assert metrics.Resampled(-0.3, resamples).p_value == pytest.approx(expected)
    assert metrics.Resampled(0, resamples).p_value == metrics.Resampled(0, array()).p_value == 1
    assert metrics.Resampled(0.3, array(0.3, 0.3)).p_value == 0, "no resample says otherwise"


def test_holms_correction_by_hand() -> None:
    # The lowest times four, the next times three, ...; none falls below the one before, and none exceeds 1.
    assert metrics.holm([0.04, 0.01, 0.03, 0.005]) == pytest.approx([0.06, 0.03, 0.06, 0.02])
    assert metrics.holm([0.9, 0.8]) == [1, 1]
    assert metrics.holm([]) == []


def test_the_bootstrap_sets_the_limit_anew() -> None:
    genuine = array(0.1, 0.5, 0.7), np.array([0, 1, 2])
    impostor = array(0.8, 0.2, 0.6), np.array([0, 1, 1])
    estimate = metrics.tar_over_people(genuine, impostor, 0.5, DRAWN)
    # One of three may pass: limit .6, two of three below. Drawn 2 0 1: one of the two at .8, limit .8, all below.
    # Drawn 0 3 0: the three at .2 of six, limit .6, the three at .5 below.
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((2 / 3, *ends(2 / 3, 1, 1)))


def test_resamples_draw_as_many_people_as_there_are_and_the_same_by_one_seed() -> None:
    drawn = metrics.resampled_people(40, 300, seed=3)
    assert drawn.shape == (300, 40)
    assert (drawn.sum(axis=1) == 40).all()
    assert (drawn == metrics.resampled_people(40, 300, seed=3)).all()
    assert (drawn != metrics.resampled_people(40, 300, seed=4)).any()
    # The interval of a share of 0.5 over 40 people is about 1.96 * 0.5 / sqrt(40) = 0.155 to each side.
    estimate = metrics.mean_over_people(np.arange(40) % 2.0, np.arange(40), drawn).estimate
    assert estimate.value == 0.5
    assert 0.12 < 0.5 - estimate.low < 0.19
    assert 0.12 < estimate.high - 0.5 < 0.19


def test_without_a_resample_the_interval_is_the_value() -> None:
    assert metrics.Resampled(0.3, array()).estimate == Estimate(0.3, 0.3, 0.3)


@pytest.fixture
def drawn_pairs() -> tuple[np.ndarray, np.ndarray]:
    """A thousand pairs that overlap, many at equal distances."""
    random = np.random.default_rng(7)
    genuine, impostor = random.normal(0.8, 0.2, 400), random.normal(1.2, 0.2, 600)
    return genuine.round(2), impostor.round(2)


def test_verification_agrees_with_scikit_learn(drawn_pairs: tuple[np.ndarray, np.ndarray]) -> None:
    genuine, impostor = drawn_pairs
    distances, same = np.concatenate(drawn_pairs), np.arange(1000) < 400
    fpr, tpr, thresholds = roc_curve(same, -distances, drop_intermediate=False)
    far, tar = metrics.roc(genuine, impostor)
    assert far == pytest.approx(fpr)
    assert tar == pytest.approx(tpr)
    assert metrics.auc(genuine, impostor) == pytest.approx(roc_auc_score(same, -distances))
    for rate in (0.001, 0.01, 0.1):
        assert metrics.tar_at_far(genuine, impostor, rate)[0] == tpr[fpr <= rate].max()
    best = max(np.mean((-distances >= threshold) == same) for threshold in thresholds)
    assert np.mean((distances <= metrics.best_threshold(distances, same)) == same) == best


def test_average_precision_agrees_with_scikit_learn() -> None:
    random = np.random.default_rng(8)
    relevant = random.random((30, 200)) < 0.1
    totals = relevant.sum(axis=1)
    theirs = [average_precision_score(row, -np.arange(200)) for row in relevant]
    assert metrics.average_precision(relevant, totals) == pytest.approx(theirs)
    # At R: the same ranking, in which nothing relevant stands after the first R.
    cut = relevant & (np.arange(200) < totals[:, None])
    by_cut = [average_precision_score(row, -np.arange(200)) * row.sum() if row.any() else 0 for row in cut]
    assert metrics.average_precision_at_r(relevant, totals) == pytest.approx(np.array(by_cut) / totals)


def test_reliability_by_hand() -> None:
    """Bins of a quarter: .1 .2 | - | .5 .6 .7 | .9 1."""
    probabilities, outcomes = array(0.1, 0.6, 0.2, 0.5, 0.7, 1.0, 0.9), flags("-x--xxx")[0]
    held = metrics.reliability(probabilities, outcomes, 4)
    assert held.count == (2, 3, 2)
    assert held.said == pytest.approx((0.15, 0.6, 0.95))
    assert held.true == pytest.approx((0, 2 / 3, 1))
    assert held.error == pytest.approx((2 * 0.15 + 3 * (2 / 3 - 0.6) + 2 * 0.05) / 7)


def test_a_probability_that_is_always_right_has_no_calibration_error() -> None:
    assert metrics.reliability(array(0, 1, 1, 0), flags("-xx-")[0], 10).error == 0
    assert metrics.reliability(array(1, 0), flags("-x")[0], 10).error == 1


def test_the_interval_of_pairs_chooses_thresholds_anew_in_every_resample() -> None:
    random = np.random.default_rng(0)
    pairs = random.integers(0, 30, (300, 2))
    same, folds = pairs[:, 0] % 2 == 0, np.arange(300) % 5
    pairs[same, 1] = pairs[same, 0]
    distances = random.normal(np.where(same, 0.8, 1.2), 0.3)
    distances[7], distances[8] = np.inf, distances[9]
    drawn = metrics.resampled_people(30, 40, 1)
    expected = []
    for times in drawn.astype(int):
        weights = np.where(pairs[:, 0] == pairs[:, 1], times[pairs[:, 0]], times[pairs[:, 0]] * times[pairs[:, 1]])
        drawn_pairs = np.repeat(np.arange(300), weights)
        right = 0
        for fold in range(5):
            known = drawn_pairs[folds[drawn_pairs] != fold]
            cuts = np.unique(distances[known][np.isfinite(distances[known])])
            accepted = [np.sum((distances[known] <= cut) == same[known]) for cut in cuts]
            asked = drawn_pairs[folds[drawn_pairs] == fold]
            right += np.sum((distances[asked] <= cuts[int(np.argmax(accepted))]) == same[asked])
        expected.append(right / len(drawn_pairs))
    resampled = metrics.fold_accuracy_over_people(distances, same, folds, pairs, drawn)
    assert resampled.resamples == pytest.approx(expected)
    found = resampled.estimate
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(expected, [0.025, 0.975])))
    assert found.value == pytest.approx(metrics.fold_accuracies(distances, same, folds)[0].mean())


def test_the_interval_of_pairs_accepted_draws_both_people() -> None:
    genuine = array(0.1, 0.3), np.array([[0, 0], [1, 1]])
    impostor = array(0.2, 0.4), np.array([[0, 1], [1, 2]])
    drawn = array(1, 1, 1, 2, 0, 1, 0, 2, 1).reshape(3, 3)
    # Everybody once: limit 0.4 lets half of the impostors pass, both genuine ones are nearer. Without 1: no impostors.
    # Without 0: the impostor at 0.4 alone; none may pass at 1 %.
    found = metrics.tar_over_people(genuine, impostor, 0.5, drawn)
    assert (found.value, found.high) == (1, 1)
