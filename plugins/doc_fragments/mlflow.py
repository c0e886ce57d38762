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
  validate_certs:
    description: Whether the server's certificate is verified.
    type: bool
    default: true
  timeout:
    description:
      - Seconds to wait for a connection and for each answer.
      - Files get 60 seconds and a second per 4 MiB, or this where it is more.
    type: float
    default: 30
  host_header:
    description: What to send as C(Host), where it differs from the address in O(tracking_uri).
    type: str
  unreachable_in_check:
    description:
      - What to do in check mode when no MLflow answers, as on a host that a playbook has yet to set up.
      - V(ignore) reports what would be made on an empty server, and returns RV(ignore:reachable=false).
      - The file at O(ca_path) need not be there then.
    type: str
    choices: [fail, ignore]
    default: fail
requirements:
  - Python 3.11 or newer on the host that runs the module
  - An MLflow server of version 3; tested with 3.17
notes:
  - A request is repeated, up to three times, only where a repeat changes nothing.
  - Runs on any host that reaches MLflow; nothing but Python's standard library is needed.
"""
