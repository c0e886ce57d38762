#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: s3_preflight
short_description: Whether the site's own object store can carry the platform
version_added: 0.1.0
description:
  - Lists a bucket, stores an object of 64 KiB in it, reads it, compares what comes back, and removes it; and returns
    all that is wrong at once, under the names of the platform's variables.
  - Leaves nothing behind, in check mode and out of it. Needs nothing but Python on the host.
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Returns details on what has changed, in diff mode.
    support: none
options:
  endpoint:
    description: The server's address, C(http(s)://host[:port]).
    type: str
    required: true
  region:
    description: The region that requests are signed for.
    type: str
    default: us-east-1
  ca:
    description: Certificate authorities that may have signed the server's certificate, PEM; empty for the system's.
    type: str
    default: ""
  path_style:
    description: Whether the bucket is the first part of the path, and not of the host name.
    type: bool
    default: true
  make:
    description: Whether the platform makes buckets that are missing. Otherwise one that is missing is a problem.
    type: bool
    default: false
  buckets:
    description: The buckets that the platform uses, and with which keys.
    type: list
    elements: dict
    required: true
    suboptions:
      component:
        description: The component that uses it.
        type: str
        required: true
      key:
        description: The bucket's key in C(mlops_object_store_buckets).
        type: str
        required: true
      name:
        description: Name of the bucket.
        type: str
        required: true
      access_key:
        description: The access key.
        type: str
        default: ""
      access_secret:
        description: Name of the secret with the access key.
        type: str
        required: true
      secret_key:
        description: The secret key.
        type: str
        default: ""
      secret_secret:
        description: Name of the secret with the secret key.
        type: str
        required: true
  installed:
    description:
      - Components that run already. A bucket of theirs that is empty is a problem, since their objects are elsewhere.
    type: list
    elements: str
    default: []
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
- name: Look at the site's object store
  mlops.onprem.s3_preflight:
    endpoint: https://s3.example.org
    ca: "{{ lookup('ansible.builtin.file', '/etc/ssl/site-ca.pem') }}"
    buckets:
      - component: mlflow
        key: mlflow
        name: mlflow
        access_key: "{{ mlops_secrets.mlflow_s3_access_key }}"
        access_secret: mlflow_s3_access_key
        secret_key: "{{ mlops_secrets.mlflow_s3_secret_key }}"
        secret_secret: mlflow_s3_secret_key
"""

RETURN = r"""
problems:
  description: What must be put right first; each begins with the variable that it is about.
  type: list
  elements: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.onprem.plugins.module_utils._services.bucket_check import (
    Bucket,
    BucketCheck,
    variable_of,
)
from ansible_collections.mlops.onprem.plugins.module_utils._services.connection import ServiceError
from ansible_collections.mlops.onprem.plugins.module_utils._services.s3 import Endpoint, Keys


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "endpoint": {"required": True},
            "region": {"default": "us-east-1"},
            "ca": {"default": ""},
            "path_style": {"type": "bool", "default": True},
            "make": {"type": "bool", "default": False},
            "buckets": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "no_log": False,
                "options": {
                    "component": {"required": True},
                    "key": {"required": True, "no_log": False},
                    "name": {"required": True},
                    "access_key": {"default": "", "no_log": True},
                    "access_secret": {"required": True, "no_log": False},
                    "secret_key": {"default": "", "no_log": True},
                    "secret_secret": {"required": True, "no_log": False},
                },
            },
            "installed": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "float", "default": 10},
        },
        supports_check_mode=True,
    )
    given = module.params
    try:
        endpoint = Endpoint(
            given["endpoint"],
            region=given["region"],
            ca=given["ca"],
            path_style=given["path_style"],
            timeout=given["timeout"],
        )
    except ServiceError as error:
        module.exit_json(changed=False, problems=[f"{variable_of(error)}: {error.message}"])
    check = BucketCheck(endpoint, make=given["make"], installed=given["installed"])
    check.look(
        [
            Bucket(
                component=item["component"],
                key=item["key"],
                name=item["name"],
                keys=Keys(item["access_key"], item["secret_key"]),
                access_secret=item["access_secret"],
                secret_secret=item["secret_secret"],
            )
            for item in given["buckets"]
        ]
    )
    module.exit_json(changed=False, problems=check.problems)


if __name__ == "__main__":
    main()
