# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What the Grafana modules share."""

    DOCUMENTATION = r"""
options:
  grafana_url:
    description:
      - Address of Grafana, such as V(http://grafana.localhost) or V(https://example.com/grafana).
      - Names ending in C(.localhost) mean the host that the module runs on.
      - Falls back to the environment variable E(GRAFANA_URL).
      - Proxies named in the environment are not used.
    type: str
    required: true
  username:
    description:
      - User for basic authentication, instead of O(token).
      - Falls back to the environment variable E(GRAFANA_USERNAME).
    type: str
  password:
    description:
      - Password of O(username).
      - Falls back to the environment variable E(GRAFANA_PASSWORD).
    type: str
  token:
    description:
      - Token of a service account, instead of O(username).
      - Falls back to the environment variable E(GRAFANA_TOKEN).
    type: str
  org_id:
    description:
      - Number of the organisation to work in; without it, the one that the user is in at present.
      - A token belongs to one organisation, and needs none.
    type: int
  ca_path:
    description:
      - File or directory with the certificate authorities to trust, in PEM format, in place of the system's.
      - Falls back to the environment variable E(GRAFANA_CA_CERT).
    type: path
  host_header:
    description: What to send as C(Host), where it differs from the address in O(grafana_url).
    type: str
requirements:
  - Grafana 10 or newer
"""

    ALERTING = r"""
options:
  locked:
    description:
      - Whether Grafana lets nobody change it in its pages, which V(true) makes so, with provenance C(api).
      - With V(false) it stays editable there; the next run sets it back to what is declared.
    type: bool
    default: true
notes:
  - Speaks the provisioning API, and where the server has that no more, its successor, C(rules.alerting.grafana.app)
    and C(notifications.alerting.grafana.app).
  - What a file of the server provisions is never touched; it is an error to declare it.
"""

    FOLDER = r"""
options:
  folder:
    description:
      - Title of a folder at the top. It is made where it is missing, and never removed.
      - Beside O(folder_uid), the title that a new folder gets.
    type: str
  folder_uid:
    description: Uid of the folder. It is made where it is missing, and never removed.
    type: str
"""

    HASH = r"""
options:
  hash_key:
    description:
      - Key of the hashes by which a changed secret is noticed; another key counts as other secrets.
      - Grafana shows no secret, so salted, slow hashes of them are kept in a setting of the thing itself,
        C(mlopsSecretHashes). Without a key, whoever may read the settings could try guesses on them; a secret that
        was generated withstands that.
    type: str
"""
