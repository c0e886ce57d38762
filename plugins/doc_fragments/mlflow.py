# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What the MLflow modules share."""

    DOCUMENTATION = r"""
options:
  tracking_uri:
    description:
      - Address of the MLflow server, such as V(http://mlflow.localhost) or V(https://mlflow.example.com/prefix).
      - Names ending in C(.localhost) mean the host that the module runs on.
      - Falls back to the environment variable E(MLFLOW_TRACKING_URI).
      - Proxies named in the environment are not used.
    type: str
    required: true
  username:
    description:
      - User for MLflow's basic authentication.
      - Falls back to the environment variable E(MLFLOW_TRACKING_USERNAME).
    type: str
  password:
    description:
      - Password of O(username).
      - Falls back to the environment variable E(MLFLOW_TRACKING_PASSWORD).
    type: str
  ca_path:
    description:
      - File or directory with the certificate authorities to trust, in PEM format, in place of the system's.
      - Falls back to the environment variable E(MLFLOW_TRACKING_SERVER_CERT_PATH).
    type: path
  host_header:
    description: What to send as C(Host), where it differs from the address in O(tracking_uri).
    type: str
requirements:
  - An MLflow server of version 3; tested with 3.17
notes:
  - Files get 60 seconds and a second per 4 MiB, or O(timeout) where it is more.
"""
