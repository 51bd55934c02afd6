"""Numbers from (is_fake, p_fake), with intervals; fake is the positive class everywhere."""

from __future__ import annotations

from fauxto.metrics.closed import auc_interval, balanced_interval, delong_variance, ece_interval, mean_of_shares, paired_change
from fauxto.metrics.intervals import ReliabilityBin, all_metrics, confusion_intervals, reliability_bins
from fauxto.metrics.paired import Answers, McNemar, brier_score, differences, holm, mcnemar
from fauxto.metrics.points import (
    Confusion,
    accuracy,
    average_precision,
    balanced_accuracy,
    check_scores,
    confusion,
    cumulative_counts,
    expected_calibration_error,
    f1,
    false_alarm_rate,
    precision,
    recall,
    roc_auc,
    tpr_at_fpr,
)
from fauxto.metrics.prevalence import AtShare, at_share
from fauxto.metrics.rankings import tpr_interval
from fauxto.metrics.shares import Interval, wilson

__all__ = [
    "Answers",
    "AtShare",
    "Confusion",
    "Interval",
    "McNemar",
    "ReliabilityBin",
    "accuracy",
    "all_metrics",
    "at_share",
    "auc_interval",
    "average_precision",
    "balanced_accuracy",
    "balanced_interval",
    "brier_score",
    "check_scores",
    "confusion",
    "confusion_intervals",
    "cumulative_counts",
    "delong_variance",
    "differences",
    "ece_interval",
    "expected_calibration_error",
    "f1",
    "false_alarm_rate",
    "holm",
    "mcnemar",
    "mean_of_shares",
    "paired_change",
    "precision",
    "recall",
    "reliability_bins",
    "roc_auc",
    "tpr_at_fpr",
    "tpr_interval",
    "wilson",
]
