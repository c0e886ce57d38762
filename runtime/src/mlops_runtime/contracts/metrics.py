# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Names of the metrics that the runtime exposes."""

from __future__ import annotations

from typing import Final

# Request metrics under the names of Seldon's executor, which its dashboards read.
SERVER_REQUESTS_SECONDS: Final = "seldon_api_executor_server_requests_seconds"
CLIENT_REQUESTS_SECONDS: Final = "seldon_api_executor_client_requests_seconds"
# Feedback, under the names of Seldon's wrapper; as counters they end in _total.
FEEDBACK: Final = "seldon_api_model_feedback"
FEEDBACK_REWARD: Final = "seldon_api_model_feedback_reward"

# The prediction stream, at the model server. Label: outcome.
RECORDS: Final = "mlops_prediction_records"
"""Counter by `outcome`: logged (a broker has it), lost (none took it in time, or the queue was full), sampled_out."""
LABELS: Final = "mlops_prediction_labels"
"""Counter by `outcome`, of truths that came by send-feedback: as of records, and without_id (nobody knows whose)."""

# Drift. Labels: model, version, detector, feature where they apply; `feature` is empty for what looks at all of them.
DRIFT_STATISTIC: Final = "mlops_drift_statistic"
DRIFT_THRESHOLD: Final = "mlops_drift_threshold"
DRIFT_SCORE_RATIO: Final = "mlops_drift_score_ratio"
"""Statistic over threshold: above 1 means drift, whatever the detector."""
DRIFT_DETECTED: Final = "mlops_drift_detected"
"""1 from an alarm until the statistic has been below the threshold for an expected run time; else 0."""
DRIFT_EVENTS: Final = "mlops_drift_events"
"""Counter of alarms."""
DRIFT_ROWS: Final = "mlops_drift_rows"
"""Counter of rows by `outcome`: scored, rejected."""
DRIFT_DEAD_LETTERS: Final = "mlops_drift_dead_letters"
"""Counter of messages that went to the dead-letter topic, by `reason`."""
DRIFT_FEATURE_MISSING_RATIO: Final = "mlops_drift_feature_missing_ratio"
DRIFT_FEATURE_INVALID_RATIO: Final = "mlops_drift_feature_invalid_ratio"
"""Of a feature's values: out of the reference's range, or of a category that the reference lacks."""
DRIFT_LAG_MESSAGES: Final = "mlops_drift_lag_messages"
DRIFT_SNAPSHOT_AGE_SECONDS: Final = "mlops_drift_snapshot_age_seconds"
MODEL_PERFORMANCE: Final = "mlops_model_performance"
"""By `metric`: from labels that arrived (accuracy, f1, rmse, ...), or estimated before they do (estimated_accuracy)."""
MODEL_LABELS: Final = "mlops_model_labels"
"""Counter by `outcome`: rows joined with their label; what was dropped, repeated or didn't match while it waited."""
DRIFT_VALUE: Final = "mlops_drift_value"
"""Label `model` alone: the largest score ratio, for those who come from the reference implementation."""

# The lifecycle controller.
LOOP_STAGE_SECONDS: Final = "mlops_loop_stage_seconds"
"""Gauge by `model` and `stage` of the newest loop: alert, decide, start, wait, train, promote."""
LIFECYCLE_ALERTS: Final = "mlops_lifecycle_alerts"
"""Counter by `outcome`: opened, continued, resolved, ignored, refused."""
LIFECYCLE_DECISIONS: Final = "mlops_lifecycle_decisions"
"""Counter by `decision`: held, asked, notified, refused, accepted."""
LIFECYCLE_RUNS: Final = "mlops_lifecycle_runs"
"""Counter by `outcome`: started, completed, failed, crashed, cancelled, lost."""
LIFECYCLE_EPISODES: Final = "mlops_lifecycle_episodes"
"""Gauge of open episodes by `model` and `state`."""
LIFECYCLE_FAILURES: Final = "mlops_lifecycle_failures"
"""Counter by `system`: ledger, registry, pipelines, agent."""

# The archive of the stream. Label: model.
ARCHIVE_ROWS: Final = "mlops_archive_rows"
"""Counter by `kind`: records, labels; what was stored."""
ARCHIVE_UNREADABLE: Final = "mlops_archive_unreadable"
"""Counter of messages that are no record or no label."""
ARCHIVE_BYTES: Final = "mlops_archive_bytes"
ARCHIVE_DELETED: Final = "mlops_archive_deleted_files"
"""Counter of files whose time was over."""
ARCHIVE_AGE_SECONDS: Final = "mlops_archive_age_seconds"
"""Gauge: of the oldest message that was read and isn't stored yet."""
ARCHIVE_FAILURES: Final = "mlops_archive_failures"
"""Counter without labels: MLflow didn't take or give something; it is tried again."""
