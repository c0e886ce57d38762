#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: site_certificate
short_description: The site's own CA, and certificates below it
version_added: 0.1.0
description:
  - Makes a CA where there is none, and a server's certificate below it for DNS names, wildcards and addresses.
  - A certificate is made anew when it is about to end, when its names change, or when it isn't this CA's.
  - A CA that is renewed keeps its key.
  - Keys are files with mode 0600, and never in the result.
requirements:
  - cryptography
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Returns details on what has changed, in diff mode.
    support: full
options:
  ca_certificate:
    description: File of the CA's certificate.
    type: path
    required: true
  ca_key:
    description: File of the CA's private key.
    type: path
    required: true
  certificate:
    description: File of the certificate, followed by the CA's. Without it, only the CA is made.
    type: path
  key:
    description: File of the certificate's private key.
    type: path
  names:
    description: DNS names (wildcards too) and addresses that the certificate is for.
    type: list
    elements: str
    default: []
  organisation:
    description: Name in the CA's subject.
    type: str
    default: mlops
  days:
    description: How long a certificate is good for.
    type: int
    default: 825
  ca_days:
    description: How long the CA is good for.
    type: int
    default: 3650
  renew_before_days:
    description: A certificate that ends within so many days is made anew.
    type: int
    default: 30
author:
  - The mlops.onprem authors (@mlops-onprem)
"""

EXAMPLES = r"""
- name: A certificate for the platform's host names
  mlops.onprem.site_certificate:
    ca_certificate: "{{ inventory_dir }}/tls/ca.pem"
    ca_key: "{{ inventory_dir }}/tls/ca.key"
    certificate: "{{ inventory_dir }}/tls/gateway.pem"
    key: "{{ inventory_dir }}/tls/gateway.key"
    names: [mlops.example.org, "*.mlops.example.org"]
  delegate_to: localhost
"""

RETURN = r"""
ca:
  description: The CA's certificate, PEM.
  returned: success
  type: str
certificate:
  description: The certificate and the CA's, PEM; empty where only the CA was asked for.
  returned: success
  type: str
not_after:
  description: When the certificate ends.
  returned: where a certificate was asked for
  type: str
why:
  description: What was made, and for which reason.
  returned: success
  type: list
  elements: str
"""

import datetime
import importlib.util
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.mlops.onprem.plugins.module_utils._certificates import Pair, Terms, ensure
from ansible_collections.mlops.onprem.plugins.module_utils._errors import InputError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "ca_certificate": {"type": "path", "required": True},
            "ca_key": {"type": "path", "required": True, "no_log": False},
            "certificate": {"type": "path"},
            "key": {"type": "path", "no_log": False},
            "names": {"type": "list", "elements": "str", "default": []},
            "organisation": {"type": "str", "default": "mlops"},
            "days": {"type": "int", "default": 825},
            "ca_days": {"type": "int", "default": 3650},
            "renew_before_days": {"type": "int", "default": 30},
        },
        required_together=[("certificate", "key")],
        supports_check_mode=True,
    )
    if importlib.util.find_spec("cryptography") is None:
        module.fail_json(msg=missing_required_lib("cryptography"))
    given = module.params
    try:
        made = ensure(
            Pair(Path(given["ca_certificate"]), Path(given["ca_key"])),
            Pair(Path(given["certificate"]), Path(given["key"])) if given["certificate"] else None,
            given["names"],
            Terms(given["days"], given["ca_days"], given["renew_before_days"]),
            organisation=given["organisation"],
            now=datetime.datetime.now(datetime.UTC),
            check=module.check_mode,
        )
    except (InputError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(made.why),
        why=made.why,
        ca=made.ca,
        certificate=made.certificate,
        not_after=made.not_after.isoformat() if made.not_after else None,
        diff={"before": "(as it was)\n" if made.why else "", "after": "".join(f"{line}\n" for line in made.why)},
    )


if __name__ == "__main__":
    main()
