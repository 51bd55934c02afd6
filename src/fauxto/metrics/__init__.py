"""Numbers from (is_fake, p_fake), with intervals; fake is the positive class everywhere."""

from __future__ import annotations

from fauxto.metrics.intervals import Interval, ReliabilityBin, all_metrics, confusion_intervals, reliability_bins, wilson
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

__all__ = [
    "Confusion",
    "Interval",
    "ReliabilityBin",
    "accuracy",
    "all_metrics",
    "average_precision",
    "balanced_accuracy",
    "check_scores",
    "confusion",
    "confusion_intervals",
    "cumulative_counts",
    "expected_calibration_error",
    "f1",
    "false_alarm_rate",
    "precision",
    "recall",
    "reliability_bins",
    "roc_auc",
    "tpr_at_fpr",
    "wilson",
]
