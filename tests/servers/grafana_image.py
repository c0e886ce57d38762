# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""An image of the server that grafana_server.py builds, laid out as upstream's own is, in a registry of tests.

    python tests/servers/grafana_image.py 127.0.0.1:15000/upstream/grafana:10.0.0

It is made from the base image that an installed platform has in its registry, by this machine's engine.
"""

from __future__ import annotations

import subprocess
import sys

import grafana_server

DOCKERFILE = """
FROM {base}
USER 0
COPY . /usr/share/grafana
RUN mkdir -p /etc/grafana/provisioning/datasources /etc/grafana/provisioning/dashboards \\
      /etc/grafana/provisioning/notifiers /etc/grafana/provisioning/alerting /etc/grafana/provisioning/plugins \\
      /var/lib/grafana /var/log/grafana \\
 && cp /usr/share/grafana/conf/sample.ini /etc/grafana/grafana.ini \\
 && chown -R 472:0 /var/lib/grafana /var/log/grafana && chmod -R 777 /var/lib/grafana /var/log/grafana
ENV GF_PATHS_CONFIG=/etc/grafana/grafana.ini GF_PATHS_DATA=/var/lib/grafana GF_PATHS_HOME=/usr/share/grafana \\
    GF_PATHS_LOGS=/var/log/grafana GF_PATHS_PLUGINS=/var/lib/grafana/plugins \\
    GF_PATHS_PROVISIONING=/etc/grafana/provisioning PATH=/usr/share/grafana/bin:/usr/sbin:/usr/bin:/sbin:/bin
USER 472
ENTRYPOINT ["/usr/share/grafana/run.sh"]
"""


def push(name: str) -> None:
    """Build it and bring it to that reference's registry. Raises CalledProcessError and LookupError."""
    registry = name.partition("/")[0]
    listed = _docker("images", "--format", "{{.Repository}}:{{.Tag}}", f"{registry}/base").split()
    if not listed:
        raise LookupError(f"the engine has no image {registry}/base: install a platform first")
    _docker("build", "-t", name, "-f", "-", str(grafana_server.build()), stdin=DOCKERFILE.format(base=listed[0]))
    _docker("push", name)


def _docker(*arguments: str, stdin: str = "") -> str:
    done = subprocess.run(
        ["docker", *arguments], input=stdin, stdout=subprocess.PIPE, text=True, check=True, timeout=600
    )
    return done.stdout


if __name__ == "__main__":
    push(sys.argv[1])
