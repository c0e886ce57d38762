#!/opt/venv/bin/python
# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the Prefect image runs: `serve`, `services`, `migrate`, `worker POOL`, `run [COMMAND]`.

Secrets come as files. A variable `NAME_FILE` of the list below names the file whose content is exported as `NAME`, for
this process and those that it becomes or starts: asyncpg and Prefect read them from there, so that no password is part
of a URL, of the arguments, or of the declared environment.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

FROM_FILES = (
    "MLFLOW_TRACKING_PASSWORD",
    "PGPASSWORD",
    "PREFECT_API_AUTH_STRING",
    "PREFECT_SERVER_API_AUTH_STRING",
    "VALKEY_PASSWORD",
)
PORT = 4200
METRICS_PORT = 4201
THROUGH_VALKEY = {
    "PREFECT_MESSAGING_BROKER": "prefect_redis.messaging",
    "PREFECT_MESSAGING_CACHE": "prefect_redis.messaging",
    "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
}
"""What the servers would otherwise keep in their memory, each for itself."""


def die(message: str) -> NoReturn:
    print(message, flush=True)
    sys.exit(1)


def exported(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with the secrets that files hold."""
    result = dict(environment)
    for name in FROM_FILES:
        path = result.pop(f"{name}_FILE", "")
        if not path:
            continue
        try:
            value = Path(path).read_text(encoding="utf-8").strip("\n")
        except OSError as error:
            die(f"{name}_FILE: {error}")
        if not value:
            die(f"{name}_FILE: {path} is empty")
        result[name] = value
    return result


def required(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name) or die(f"{name} must be set")


def shared(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of one server of several; VALKEY (host:port) is where they meet."""
    place = environment.get("VALKEY", "")
    if not place:
        return dict(environment)
    url = f"redis://:{quote(required(environment, 'VALKEY_PASSWORD'), safe='')}@{place}/0"
    return {
        **environment, **THROUGH_VALKEY, "PREFECT_REDIS_MESSAGING_URL": url, "PREFECT_SERVER_DOCKET_URL": url,
    }  # fmt: skip


def server(environment: Mapping[str, str]) -> list[str]:
    """Arguments of the server. Without an auth string Prefect would let everybody in.

    One of several leaves what goes on in the background to `services`."""
    required(environment, "PREFECT_SERVER_API_AUTH_STRING")
    port = environment.get("PREFECT_SERVER_API_PORT", str(PORT))
    one_of_several = ["--no-services"] if environment.get("VALKEY") else []
    return ["server", "start", "--host", "0.0.0.0", "--port", port, *one_of_several]  # noqa: S104  a container


def services() -> list[str]:
    return ["server", "services", "start"]


def migration() -> list[str]:
    return ["server", "database", "upgrade", "--yes"]


def worker(environment: Mapping[str, str], pool: str) -> list[str]:
    """Arguments of a worker: its runs are processes of its own, or MLOPS_WORKER_TYPE says what. It makes the pool where
    that is missing."""
    required(environment, "PREFECT_API_URL")
    runs = environment.get("MLOPS_WORKER_RUNS", "")
    limit = ["--limit", runs] if runs else []
    kind = environment.get("MLOPS_WORKER_TYPE") or "process"
    return ["worker", "start", "--pool", pool, "--type", kind, "--with-healthcheck", *limit]


def flow_run(environment: Mapping[str, str]) -> list[str]:
    """Arguments of a single run, which PREFECT__FLOW_RUN_ID names."""
    required(environment, "PREFECT_API_URL")
    required(environment, "PREFECT__FLOW_RUN_ID")
    return ["flow-run", "execute"]


def become_prefect(environment: Mapping[str, str], arguments: list[str]) -> None:
    """Run Prefect's command line in this process."""
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["prefect", *arguments]
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)


def serve_metrics(environment: Mapping[str, str]) -> None:
    """What the server's own /api/metrics would say, on a port of its own: that one wants everybody's password."""
    from prometheus_client import start_http_server

    start_http_server(int(environment.get("MLOPS_METRICS_PORT", METRICS_PORT)))


def main(arguments: list[str]) -> None:
    environment = exported(os.environ)
    match arguments:
        case ["serve"]:
            serve_metrics(environment)
            become_prefect(shared(environment), server(environment))
        case ["services"]:
            serve_metrics(environment)
            become_prefect(shared(environment), services())
        case ["migrate"]:
            become_prefect(environment, migration())
        case ["worker", pool]:
            become_prefect(environment, worker(environment, pool))
        case ["run"]:
            become_prefect(environment, flow_run(environment))
        case ["run", *command]:
            os.execvpe(command[0], command, environment)  # noqa: S606  the run's own command, in its own container
        case _:
            die("usage: prefect-entrypoint serve | services | migrate | worker POOL | run [COMMAND]")


if __name__ == "__main__":
    main(sys.argv[1:])
