# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Names of the environment variables that a model's container reads."""

from __future__ import annotations

from typing import Final

# Seldon's wrapper, https://docs.seldon.io/projects/seldon-core/en/v1.17.1/python/python_wrapping_docker.html
MODEL_NAME: Final = "MODEL_NAME"
SERVICE_TYPE: Final = "SERVICE_TYPE"
PERSISTENCE: Final = "PERSISTENCE"
PARAMETERS: Final = "PREDICTIVE_UNIT_PARAMETERS"
UNIT_ID: Final = "PREDICTIVE_UNIT_ID"
UNIT_IMAGE: Final = "PREDICTIVE_UNIT_IMAGE"
HTTP_PORT: Final = "PREDICTIVE_UNIT_HTTP_SERVICE_PORT"
SERVICE_PORT: Final = "PREDICTIVE_UNIT_SERVICE_PORT"
GRPC_PORT: Final = "PREDICTIVE_UNIT_GRPC_SERVICE_PORT"
METRICS_PORT: Final = "PREDICTIVE_UNIT_METRICS_SERVICE_PORT"
METRICS_ENDPOINT: Final = "PREDICTIVE_UNIT_METRICS_ENDPOINT"
PREDICTOR_ID: Final = "PREDICTOR_ID"
PREDICTOR_LABELS: Final = "PREDICTOR_LABELS"
DEPLOYMENT_ID: Final = "SELDON_DEPLOYMENT_ID"
LOG_LEVEL: Final = "SELDON_LOG_LEVEL"
DEBUG: Final = "SELDON_DEBUG"
INCLUDE_METRICS: Final = "INCLUDE_METRICS_IN_CLIENT_RESPONSE"
PAYLOAD_PASSTHROUGH: Final = "PAYLOAD_PASSTHROUGH"
MODEL_METADATA: Final = "MODEL_METADATA"
TRACING: Final = "TRACING"
WRAPPER_WORKERS: Final = "GUNICORN_WORKERS"
WRAPPER_THREADS: Final = "GUNICORN_THREADS"
WRAPPER_KEEPALIVE: Final = "GUNICORN_KEEPALIVE"
WRAPPER_MAX_REQUESTS: Final = "GUNICORN_MAX_REQUESTS"
WRAPPER_MAX_REQUESTS_JITTER: Final = "GUNICORN_MAX_REQUESTS_JITTER"
WRAPPER_ACCESS_LOG: Final = "GUNICORN_ACCESS_LOG"
WRAPPER_SINGLE_THREADED: Final = "FLASK_SINGLE_THREADED"
WRAPPER_GRPC_WORKERS: Final = "GRPC_WORKERS"
WRAPPER_GRPC_THREADS: Final = "GRPC_THREADS"

# The model's version in the registry, and where it is kept
MODEL: Final = "MLOPS_MODEL"
MODEL_VERSION: Final = "MLOPS_MODEL_VERSION"
MODEL_SHA256: Final = "MLOPS_MODEL_SHA256"
MODEL_DIRECTORY: Final = "MLOPS_MODEL_DIR"
CACHE_DIRECTORY: Final = "MLOPS_CACHE_DIR"
CACHE_KEEP: Final = "MLOPS_CACHE_KEEP"
FETCH_SECONDS: Final = "MLOPS_FETCH_SECONDS"
TRACKING_URI: Final = "MLFLOW_TRACKING_URI"
TRACKING_USERNAME: Final = "MLFLOW_TRACKING_USERNAME"
TRACKING_PASSWORD: Final = "MLFLOW_TRACKING_PASSWORD"  # noqa: S105 the name of a variable
TRACKING_USERNAME_FILE: Final = "MLFLOW_TRACKING_USERNAME_FILE"
TRACKING_PASSWORD_FILE: Final = "MLFLOW_TRACKING_PASSWORD_FILE"  # noqa: S105 the name of a variable

# The model server's own settings
WORKERS: Final = "MLOPS_WORKERS"
QUEUE: Final = "MLOPS_QUEUE"
QUEUE_SECONDS: Final = "MLOPS_QUEUE_SECONDS"
BATCH_MAX_ROWS: Final = "MLOPS_BATCH_MAX_ROWS"
BATCH_WAIT_MS: Final = "MLOPS_BATCH_WAIT_MS"
MODEL_THREAD: Final = "MLOPS_MODEL_THREAD"
MAX_BODY: Final = "MLOPS_MAX_BODY"
DRAIN_SECONDS: Final = "MLOPS_DRAIN_SECONDS"
GRACE_SECONDS: Final = "MLOPS_GRACE_SECONDS"

# The broker, for all that read or write the prediction stream: `contracts.broker.client_settings` reads these
BROKER: Final = "MLOPS_BROKER"
"""Where clients begin: `host:port`, several with commas."""
BROKER_USERNAME: Final = "MLOPS_BROKER_USERNAME"
BROKER_PASSWORD_FILE: Final = "MLOPS_BROKER_PASSWORD_FILE"  # noqa: S105 the name of a variable
BROKER_CA: Final = "MLOPS_BROKER_CA"
"""File of the certificate authority, PEM; with it TLS and, where there is a user, SCRAM-SHA-512; without it neither."""
TOPIC_PREFIX: Final = "MLOPS_TOPIC_PREFIX"

# Prediction records from the model server; it needs the broker's variables, too
RECORDS: Final = "MLOPS_RECORDS"
"""Topic to write them to; empty: none are written."""
RECORDS_SAMPLE: Final = "MLOPS_RECORDS_SAMPLE"
RECORDS_QUEUE: Final = "MLOPS_RECORDS_QUEUE"

# The drift detector, which needs the broker's variables and the registry's, too
DRIFT_MODELS: Final = "MLOPS_DRIFT_MODELS"
"""A directory of artefacts, <model>/<version>/, in the registry's place."""
DRIFT_GROUP: Final = "MLOPS_DRIFT_GROUP"
DRIFT_INSTANCE: Final = "MLOPS_DRIFT_INSTANCE"
"""This replica's name, where it has one of its own for ever: what comes back under it takes over at once."""
DRIFT_STATE_TOPIC: Final = "MLOPS_DRIFT_STATE_TOPIC"
DRIFT_SNAPSHOT_SECONDS: Final = "MLOPS_DRIFT_SNAPSHOT_SECONDS"
DRIFT_POLL_SECONDS: Final = "MLOPS_DRIFT_POLL_SECONDS"
DRIFT_LAG: Final = "MLOPS_DRIFT_LAG"
"""Messages behind, from which on it calls itself lagging."""
DRIFT_IDS: Final = "MLOPS_DRIFT_IDS"
"""Ids that are remembered for each partition, so that what comes twice is scored once."""
DRIFT_PORT: Final = "MLOPS_DRIFT_PORT"
STATE_DIRECTORY: Final = "MLOPS_STATE_DIR"

# The archive of the stream, which needs the broker's variables and the registry's, too
ARCHIVE_RETENTION: Final = "MLOPS_ARCHIVE_RETENTION"
"""How long models' streams are kept that don't say it themselves: 30d, 12h, 8w, 2y; empty: for ever."""
ARCHIVE_EXPERIMENT: Final = "MLOPS_ARCHIVE_EXPERIMENT"
"""MLflow's experiment whose artefacts the archive is: who may read one may read the other."""
ARCHIVE_GROUP: Final = "MLOPS_ARCHIVE_GROUP"
ARCHIVE_MESSAGES: Final = "MLOPS_ARCHIVE_MESSAGES"
ARCHIVE_SECONDS: Final = "MLOPS_ARCHIVE_SECONDS"
ARCHIVE_POLL_SECONDS: Final = "MLOPS_ARCHIVE_POLL_SECONDS"
ARCHIVE_PORT: Final = "MLOPS_ARCHIVE_PORT"

# The lifecycle controller, which needs the registry's variables, too
LIFECYCLE_DATABASE: Final = "MLOPS_LIFECYCLE_DATABASE"
"""The ledger: postgresql://user@host:port/name, without a password."""
LIFECYCLE_DATABASE_PASSWORD_FILE: Final = "MLOPS_LIFECYCLE_DATABASE_PASSWORD_FILE"  # noqa: S105 the name of a variable
LIFECYCLE_CLIENTS_FILE: Final = "MLOPS_LIFECYCLE_CLIENTS_FILE"
"""Who may send alerts, read and approve, and their secrets."""
LIFECYCLE_PREFECT: Final = "MLOPS_LIFECYCLE_PREFECT"
"""Prefect's API: http://prefect:4200/api."""
LIFECYCLE_PREFECT_AUTH_FILE: Final = "MLOPS_LIFECYCLE_PREFECT_AUTH_FILE"
"""File with user:password for it."""
LIFECYCLE_POLL_SECONDS: Final = "MLOPS_LIFECYCLE_POLL_SECONDS"
"""Between two looks at the registry and at the runs."""
LIFECYCLE_SETTLE_SECONDS: Final = "MLOPS_LIFECYCLE_SETTLE_SECONDS"
"""So long no alert may fire before an episode is over."""
LIFECYCLE_SILENT_SECONDS: Final = "MLOPS_LIFECYCLE_SILENT_SECONDS"
"""An alert that isn't repeated for so long is over; more than the sender's repeat interval."""
LIFECYCLE_RUNS: Final = "MLOPS_LIFECYCLE_RUNS"
"""Retraining runs at once, of all models together."""
LIFECYCLE_AGENT: Final = "MLOPS_LIFECYCLE_AGENT"
"""The agent's address, http://agent:8080; without it, serving is left to others."""
LIFECYCLE_AGENT_TOKEN_FILE: Final = "MLOPS_LIFECYCLE_AGENT_TOKEN_FILE"  # noqa: S105 the name of a variable
LIFECYCLE_SET: Final = "MLOPS_LIFECYCLE_SET"
"""The set of workloads that is the controller's."""
LIFECYCLE_PLATFORM_FILE: Final = "MLOPS_LIFECYCLE_PLATFORM_FILE"
"""JSON of what models' workloads need to know about where they run."""
LIFECYCLE_IMAGE_BUILDER: Final = "MLOPS_LIFECYCLE_IMAGE_BUILDER"
"""true where an image builder runs."""
LIFECYCLE_HOST: Final = "MLOPS_LIFECYCLE_HOST"
LIFECYCLE_PORT: Final = "MLOPS_LIFECYCLE_PORT"
LIFECYCLE_INSIDE_PORT: Final = "MLOPS_LIFECYCLE_INSIDE_PORT"

# A training flow, which needs the registry's variables, too
PIPELINE: Final = "MLOPS_PIPELINE"
"""The version of the pipeline that runs: the pull step sets it."""
PIPELINE_DIRECTORY: Final = "MLOPS_PIPELINE_DIR"
"""Where the pull step unpacks flows' code; a directory of its own for each run where it isn't set."""
