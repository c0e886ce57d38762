# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The agent's own metrics, prefix `mlops_agent_`."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

OBSERVATIONS = Counter("mlops_agent_observations_total", "Looks at the cluster.", ["outcome"])
OBSERVATION_SECONDS = Histogram(
    "mlops_agent_observation_seconds",
    "What a look at the cluster took.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
OBSERVED_AT = Gauge("mlops_agent_last_observation_timestamp_seconds", "When the cluster was last seen.")
TASKS = Gauge("mlops_agent_tasks", "Running tasks of a workload.", ["set", "workload"])
TASKS_WANTED = Gauge("mlops_agent_tasks_wanted", "Tasks a workload should have.", ["set", "workload"])
SERVERS = Gauge("mlops_agent_route_servers", "Addresses that the gateway is told for a route.", ["route"])
CONFIGURATIONS = Counter("mlops_agent_configurations_total", "Times the gateway's configuration has changed.")
APPLIES = Counter("mlops_agent_applies_total", "Sets applied or removed.", ["set", "outcome"])
APPLY_SECONDS = Histogram(
    "mlops_agent_apply_seconds", "What applying or removing a set took.", buckets=(1, 2.5, 5, 10, 30, 60, 120, 300, 600)
)
RUNS = Gauge("mlops_agent_runs", "Runs that are there.", ["client", "state"])
RUNS_STARTED = Counter("mlops_agent_runs_started_total", "Runs started.", ["client"])
REQUESTS = Counter("mlops_agent_requests_total", "Requests answered.", ["endpoint", "code"])
REQUEST_SECONDS = Histogram(
    "mlops_agent_request_seconds",
    "What answering took.",
    ["endpoint"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5),
)
