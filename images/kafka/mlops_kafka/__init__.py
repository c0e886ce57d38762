# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the Kafka image runs: the broker, and the job that makes its users and topics."""
