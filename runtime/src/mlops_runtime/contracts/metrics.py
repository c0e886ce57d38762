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
