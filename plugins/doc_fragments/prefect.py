# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What the Prefect modules share."""

    DOCUMENTATION = r"""
options:
  api_url:
    description:
      - Address of Prefect's API, such as V(http://prefect.localhost/api) or V(https://prefect.example.com/api).
      - Names ending in C(.localhost) mean the host that the module runs on.
      - Falls back to the environment variable E(PREFECT_API_URL).
      - Proxies named in the environment are not used.
    type: str
    required: true
  auth_string:
    description:
      - What the server has in its setting C(PREFECT_SERVER_API_AUTH_STRING), in the form C(user:password).
      - Falls back to the environment variable E(PREFECT_API_AUTH_STRING).
    type: str
  ca_path:
    description:
      - File or directory with the certificate authorities to trust, in PEM format, in place of the system's.
      - Falls back to the environment variable E(PREFECT_API_SSL_CERT_FILE).
    type: path
  host_header:
    description: What to send as C(Host), where it differs from the address in O(api_url).
    type: str
requirements:
  - A Prefect server of version 3; tested with 3.9
notes:
  - Texts under names that speak of a secret (C(password), C(token), C(api_key) and the like), and credentials in
    addresses, are hidden in results and diffs; a diff still says that one has changed. Templates such as
    C({{ prefect.blocks.secret.x }}) are shown.
"""
