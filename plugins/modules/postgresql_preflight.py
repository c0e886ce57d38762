#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_preflight
short_description: Whether the site's own PostgreSQL can carry the platform
version_added: 0.1.0
description:
  - Logs in to a PostgreSQL server as the platform would (TLS, passwords), looks at its version, at rights, and at what
    is there already, and returns all that is wrong at once, under the names of the platform's variables.
  - Only reads. Needs nothing but Python on the host.
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Returns details on what has changed, in diff mode.
    support: none
options:
  host:
    description: Name or address of the server.
    type: str
    required: true
  port:
    description: Its port.
    type: int
    default: 5432
  sslmode:
    description: How the server is trusted, in libpq's words.
    type: str
    choices: [verify-full, verify-ca, require, disable]
    default: verify-full
  ca:
    description: Certificate authorities that may have signed the server's certificate, PEM.
    type: str
    default: ""
  databases:
    description: The databases that the platform uses, and as whom.
    type: list
    elements: dict
    required: true
    suboptions:
      component:
        description: The component that uses it.
        type: str
        required: true
      database_key:
        description: The database's key in C(mlops_database_names).
        type: str
        required: true
      database:
        description: Name of the database.
        type: str
        required: true
      user_key:
        description: The user's key in C(mlops_database_users).
        type: str
        required: true
      user:
        description: Name of the user.
        type: str
        required: true
      secret:
        description: Name of the secret with the user's password.
        type: str
        required: true
      password:
        description: The password. Not needed with O(admin).
        type: str
        default: ""
      rights:
        description: Whether the user makes the tables, changes their rows alone, or only reads them.
        type: str
        choices: [owner, writer, reader]
        required: true
  admin:
    description: Who will make the databases and their users. Without it they must be there.
    type: dict
    suboptions:
      user:
        description: Name of the user.
        type: str
        required: true
      password:
        description: The user's password.
        type: str
        default: ""
      database:
        description: The database that it logs in to.
        type: str
        default: postgres
      secret:
        description: Name of the secret with the password.
        type: str
        required: true
  owner:
    description: The comment on users that this platform made. One without it is somebody else's, and a problem.
    type: str
    required: true
  installed:
    description:
      - Components that run already. A database of theirs without tables is a problem, since their data are elsewhere.
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
  - module: mlops.onprem.s3_preflight
"""

EXAMPLES = r"""
- name: Look at the site's database server
  mlops.onprem.postgresql_preflight:
    host: db.example.org
    ca: "{{ lookup('ansible.builtin.file', '/etc/ssl/site-ca.pem') }}"
    owner: mlops.onprem (mlops)
    databases:
      - component: mlflow
        database_key: mlflow
        database: mlflow
        user_key: mlflow
        user: mlflow
        secret: mlflow_db_password
        password: "{{ mlops_secrets.mlflow_db_password }}"
        rights: owner
"""

RETURN = r"""
problems:
  description: What must be put right first; each begins with the variable that it is about.
  type: list
  elements: str
  returned: success
version:
  description: The server's version; empty where it could not be asked.
  type: str
  returned: success
  sample: "15.14"
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.onprem.plugins.module_utils._services.connection import ServiceError
from ansible_collections.mlops.onprem.plugins.module_utils._services.database_check import Admin, DatabaseCheck, Grant
from ansible_collections.mlops.onprem.plugins.module_utils._services.postgresql import SSL_MODES, Server


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "host": {"required": True},
            "port": {"type": "int", "default": 5432},
            "sslmode": {"choices": list(SSL_MODES), "default": "verify-full"},
            "ca": {"default": ""},
            "databases": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "component": {"required": True},
                    "database_key": {"required": True, "no_log": False},
                    "database": {"required": True},
                    "user_key": {"required": True, "no_log": False},
                    "user": {"required": True},
                    "secret": {"required": True, "no_log": False},
                    "password": {"default": "", "no_log": True},
                    "rights": {"choices": ["owner", "writer", "reader"], "required": True},
                },
            },
            "admin": {
                "type": "dict",
                "options": {
                    "user": {"required": True},
                    "password": {"default": "", "no_log": True},
                    "database": {"default": "postgres"},
                    "secret": {"required": True, "no_log": False},
                },
            },
            "owner": {"required": True},
            "installed": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "float", "default": 10},
        },
        supports_check_mode=True,
    )
    given = module.params
    try:
        server = Server(
            given["host"], given["port"], sslmode=given["sslmode"], ca=given["ca"], timeout=given["timeout"]
        )
    except ServiceError as error:
        module.exit_json(changed=False, problems=[f"mlops_database_ca: {error.message}"], version="")
    check = DatabaseCheck(server, owner=given["owner"], installed=given["installed"])
    check.look([Grant(**item) for item in given["databases"]], Admin(**given["admin"]) if given["admin"] else None)
    module.exit_json(changed=False, problems=check.problems, version=check.version)


if __name__ == "__main__":
    main()
