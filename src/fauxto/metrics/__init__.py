"""Numbers from (is_fake, p_fake), with intervals; fake is the positive class everywhere."""

from __future__ import annotations

from fauxto.metrics.closed import ece_interval, paired_change
from fauxto.metrics.intervals import ReliabilityBin, all_metrics, confusion_intervals, ratio_interval_of, reliability_bins
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
from fauxto.metrics.rankings import auc_interval, tpr_interval
from fauxto.metrics.shares import Interval, share_or, wilson

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
    "brier_score",
    "check_scores",
    "confusion",
    "confusion_intervals",
    "cumulative_counts",
    "differences",
    "ece_interval",
    "expected_calibration_error",
    "f1",
    "false_alarm_rate",
    "holm",
    "mcnemar",
    "paired_change",
    "precision",
    "ratio_interval_of",
    "recall",
    "reliability_bins",
    "roc_auc",
    "share_or",
    "tpr_at_fpr",
    "tpr_interval",
    "wilson",
]
