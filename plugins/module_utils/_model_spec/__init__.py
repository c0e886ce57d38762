# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A model's declaration and the pure function from it to workloads; images take it along, so no Ansible in here."""

from __future__ import annotations

from .alerting import PURPOSE_LABEL, RETRAINING, alert_rules
from .artefact import artefact_problems
from .local import (
    image_files,
    image_name,
    local_problems,
    lock_digest,
    lock_lines,
    lock_problems,
    read_metrics,
    resolve,
)
from .preparing import preparation
from .reading import InvalidModel
from .retraining import Retraining, deployment_name, seconds
from .spec import MAX_TAG_LENGTH, TAG, ModelSpec, from_tag, parse_model, parse_models, repeated_names
from .workloads import Broker, ModelVersion, Platform, prediction_path, workload_name, workloads

__all__ = [
    "MAX_TAG_LENGTH",
    "PURPOSE_LABEL",
    "RETRAINING",
    "TAG",
    "Broker",
    "InvalidModel",
    "ModelSpec",
    "ModelVersion",
    "Platform",
    "Retraining",
    "alert_rules",
    "artefact_problems",
    "deployment_name",
    "from_tag",
    "image_files",
    "image_name",
    "local_problems",
    "lock_digest",
    "lock_lines",
    "lock_problems",
    "parse_model",
    "parse_models",
    "prediction_path",
    "preparation",
    "read_metrics",
    "repeated_names",
    "resolve",
    "seconds",
    "workload_name",
    "workloads",
]
