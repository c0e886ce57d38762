# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: generated_secrets
short_description: Keep one vaulted file of secrets per inventory
version_added: 0.1.0
description:
  - Reads the vaulted file of secrets on the control host, makes those that are missing, and returns all.
  - A value that is there is never replaced, unless O(rotate) names it. What a changed value replaced is kept.
  - The file is written in one step with mode 0600. Under check mode nothing is written, and what would be made
    is made in memory only, so that later tasks work.
options:
  file:
    description: The vaulted file.
    type: path
    required: true
  key_file:
    description:
      - File with the vault's key. Made where neither it nor the vaulted file exists and no vault id was given.
    type: path
    required: true
  roles_path:
    description: Folder of roles; each one's C(__<role>_secrets) in C(vars/main.yml) is added to O(specs).
    type: path
  roles:
    description: Which roles of O(roles_path) to ask; all where empty.
    type: list
    elements: str
    default: []
  specs:
    description:
      - Secrets that must exist, each with C(length), 32 unless told, and C(charset).
      - A charset is C(alphanumeric), which is the default, C(hex) or C(urlsafe).
      - C(kind=certificate) makes a key and its self-signed certificate, for an interface that nobody else may use; with
        C(names), for servers of these host names and addresses, the first of which is its subject.
    type: dict
    default: {}
  values:
    description: Values of the operator's own. They win over the file's.
    type: dict
    default: {}
  rotate:
    description: Names of secrets to make anew.
    type: list
    elements: str
    default: []
  forget_previous:
    description: Whether to drop the values that were replaced, once everything has moved.
    type: bool
    default: false
attributes:
  check_mode:
    description: Nothing is written.
    support: full
  diff_mode:
    description: Shows names only.
    support: full
author:
  - The mlops.onprem authors (@mlops-onprem)
"""

EXAMPLES = r"""
- name: Make the secrets that are missing
  mlops.onprem.generated_secrets:
    file: "{{ inventory_dir }}/secrets.vault.yml"
    key_file: "{{ inventory_dir }}/.vault-key"
    specs:
      database_password: {length: 40}
      api_key: {length: 20, charset: hex}
  register: secret_result
  no_log: true
"""

RETURN = r"""
values:
  description: All secrets by name.
  type: dict
  returned: success
previous:
  description: The values that were replaced, by name.
  type: dict
  returned: success
generated:
  description: Names of the secrets that were made.
  type: list
  elements: str
  returned: success
rotated:
  description: Names of the secrets whose value is another than at the last run.
  type: list
  elements: str
  returned: success
"""
