#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: kafka_preflight
short_description: Whether the site's own Kafka can carry the prediction stream
version_added: 0.1.0
description:
  - Logs in to Kafka as the platform would (TLS, SCRAM-SHA-512), looks at which brokers there are and at what each user
    may see, and returns all that is wrong at once, under the names of the platform's variables.
  - Only reads. Needs nothing but Python on the host.
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Returns details on what has changed, in diff mode.
    support: none
options:
  bootstrap:
    description: The brokers, host:port with commas.
    type: str
    required: true
  ca:
    description: Certificate authorities that may have signed their certificates, PEM; empty for the system's.
    type: str
    default: ""
  prefix:
    description: What the prediction stream's topics begin with.
    type: str
    required: true
  users:
    description: As whom the platform logs in.
    type: list
    elements: dict
    required: true
    suboptions:
      key:
        description: The user's key in C(mlops_broker_users), or C(admin).
        type: str
        required: true
      username:
        description: Name of the user.
        type: str
        required: true
      secret:
        description: Name of the secret with the user's password.
        type: str
        required: true
      password:
        description: The password.
        type: str
        default: ""
  timeout:
    description: Seconds to wait for each answer.
    type: float
    default: 10
author:
  - The mlops.onprem authors (@mlops-onprem)
seealso:
  - module: mlops.onprem.postgresql_preflight
"""

EXAMPLES = r"""
- name: Look at the site's brokers
  mlops.onprem.kafka_preflight:
    bootstrap: k1.example.org:9093,k2.example.org:9093
    ca: "{{ lookup('ansible.builtin.file', '/etc/ssl/site-ca.pem') }}"
    prefix: predictions.
    users:
      - key: serving
        username: serving
        secret: kafka_serving_password
        password: "{{ mlops_secrets.kafka_serving_password }}"
"""

RETURN = r"""
problems:
  description: What must be put right first; each begins with the variable that it is about.
  type: list
  elements: str
  returned: success
brokers:
  description: Addresses of the brokers, as they name them to their clients.
  type: list
  elements: str
  returned: success
  sample: ["k1.example.org:9093"]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.onprem.plugins.module_utils._services.broker_check import BrokerCheck, Login
from ansible_collections.mlops.onprem.plugins.module_utils._services.connection import ServiceError, address
from ansible_collections.mlops.onprem.plugins.module_utils._services.kafka import Broker


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "bootstrap": {"required": True},
            "ca": {"default": ""},
            "prefix": {"required": True},
            "users": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "key": {"required": True, "no_log": False},
                    "username": {"required": True},
                    "secret": {"required": True, "no_log": False},
                    "password": {"default": "", "no_log": True},
                },
            },
            "timeout": {"type": "float", "default": 10},
        },
        supports_check_mode=True,
    )
    given = module.params
    places = [part.strip().rpartition(":") for part in given["bootstrap"].split(",")]
    try:
        brokers = [
            Broker(host.strip("[]"), int(port), ca=given["ca"], timeout=given["timeout"])
            for host, _colon, port in places
        ]
    except ValueError:
        module.fail_json(msg=f"bootstrap: {given['bootstrap']} isn't host:port, or several with commas")
    except ServiceError as error:
        module.exit_json(changed=False, problems=[f"mlops_broker_ca: {error.message}"], brokers=[])
    check = BrokerCheck(brokers, prefix=given["prefix"], timeout=given["timeout"])
    check.look([Login(**item) for item in given["users"]])
    module.exit_json(changed=False, problems=check.problems, brokers=[address(*place) for place in check.found])


if __name__ == "__main__":
    main()
