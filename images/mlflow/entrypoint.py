#!/opt/venv/bin/python
# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the MLflow image runs: `serve`, `prepare`, `bucket NAME`, `collect`.

Secrets come as files. A variable `NAME_FILE` of the list below names the file whose content is exported as `NAME`, for
this process and those that it becomes or starts: libpq, botocore and MLflow read them from there, so that no password
is part of a URI, of the arguments, or of the declared environment.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

FROM_FILES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "MLFLOW_FLASK_SERVER_SECRET_KEY",
    "MLFLOW_TRACKING_PASSWORD",
    "PGPASSWORD",
)
PORT = 5000
HEARTBEAT = Path("/tmp/heartbeat")  # noqa: S108  the container's own scratch
HEARTBEAT_SECONDS = 15.0


def say(message: str) -> None:
    print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {message}", flush=True)


def die(message: str) -> NoReturn:
    say(message)
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


# serve


def server(environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Command and environment of the server: what `mlflow server --app-name basic-auth` runs, without the process that
    stays above it and without the job runner. The names with an underscore are MLflow's own between the two."""
    workers = environment.get("MLOPS_WORKERS", "1")
    command = [sys.executable, "-m", "uvicorn", "--host", "0.0.0.0", "--port", str(PORT)]  # noqa: S104  a container
    command += ["--workers", workers, "--factory", "--no-server-header", "--timeout-graceful-shutdown", "20"]
    if environment.get("MLOPS_ACCESS_LOG", "false") != "true":
        command.append("--no-access-log")
    command.append("mlflow.server.auth:create_app")
    return command, {
        **environment,
        "_MLFLOW_SGI_NAME": "uvicorn",
        "_MLFLOW_SERVER_FILE_STORE": required(environment, "MLFLOW_BACKEND_STORE_URI"),
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": required(environment, "MLFLOW_ARTIFACTS_DESTINATION"),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def serve(environment: dict[str, str]) -> NoReturn:
    command, settings = server(environment)
    os.execve(command[0], command, settings)  # noqa: S606


# prepare


def prepare(environment: dict[str, str]) -> None:
    """Bring both databases to this version's schema, then the accounts to what is declared."""
    os.environ.clear()
    os.environ.update(environment)
    import mlflow.db
    from mlflow.server.auth.config import read_auth_config

    uri = required(environment, "MLFLOW_BACKEND_STORE_URI")
    mlflow.db.upgrade.callback(uri)
    say("the tracking database has this version's schema")

    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore()
    store.init_db(read_auth_config().database_uri)  # migrates too
    say("the accounts' database has this version's schema")
    for account in json.loads(required(environment, "MLOPS_ACCOUNTS")):
        settle_account(store, account)


def settle_account(store: Any, account: Mapping[str, Any]) -> None:
    """Make the account, or give it its password, its role and exactly the role's permissions."""
    name = account["name"]
    password = Path(account["password_file"]).read_text(encoding="utf-8").strip("\n")
    admin = bool(account.get("admin"))
    if not store.has_user(name):
        store.create_user(name, password, is_admin=admin)
        say(f"account {name}: made")
    else:
        if not store.authenticate_user(name, password):
            store.update_user(name, password=password)
            say(f"account {name}: password changed")
        if store.get_user(name).is_admin is not admin:
            store.update_user(name, is_admin=admin)
            say(f"account {name}: admin {admin}")
    if account.get("permissions"):
        settle_role(store, name, account["permissions"])


def settle_role(store: Any, name: str, permissions: Mapping[str, str]) -> None:
    """One role an account, of the same name; permissions: resource type -> permission on all of that type."""
    workspace = "default"
    user = store.get_user(name)
    roles = {role.name: role for role in store.list_roles([workspace])}
    role = roles.get(name) or store.create_role(name, workspace, f"What the service account {name} may do")
    found = {(p.resource_type, p.resource_pattern): p for p in store.list_role_permissions(role.id)}
    for resource_type, permission in permissions.items():
        present = found.pop((resource_type, "*"), None)
        if present is None:
            store.add_role_permission(role.id, resource_type, "*", permission)
            say(f"role {name}: {permission} on {resource_type}")
        elif present.permission != permission:
            store.update_role_permission(present.id, permission)
            say(f"role {name}: {permission} on {resource_type}")
    for surplus in found.values():
        store.remove_role_permission(surplus.id)
        say(f"role {name}: no longer {surplus.permission} on {surplus.resource_type}")
    if role.id not in {assigned.id for assigned in store.list_user_roles(user.id)}:
        store.assign_role_to_user(user.id, role.id)


# bucket


def bucket(environment: dict[str, str], name: str) -> None:
    """Be sure that the bucket is there, made here where that is wanted, and gives back what is stored in it."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    style = environment.get("MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE", "auto")
    retries = {"max_attempts": 8, "mode": "standard"}
    os.environ.update(environment)  # CA and checksums are botocore's own settings
    client = boto3.client(
        "s3",
        endpoint_url=required(environment, "MLFLOW_S3_ENDPOINT_URL"),
        aws_access_key_id=required(environment, "AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=required(environment, "AWS_SECRET_ACCESS_KEY"),
        config=Config(retries=retries, connect_timeout=5, read_timeout=20, s3={"addressing_style": style}),
    )
    try:
        if environment.get("MLOPS_MAKE_BUCKET", "true") == "true":
            make_bucket(client, name)
        round_trip(client, name)
    except (BotoCoreError, ClientError) as error:
        die(f"bucket {name}: {error}")


def make_bucket(client: Any, name: str) -> None:
    from botocore.exceptions import ClientError

    try:
        client.head_bucket(Bucket=name)
        say(f"bucket {name}: there already")
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") not in ("404", "NoSuchBucket"):
            raise
        client.create_bucket(Bucket=name)
        say(f"bucket {name}: made")


def round_trip(client: Any, name: str) -> None:
    """Some servers have stored a client's framing with the content; better seen now than in a model."""
    content, key = os.urandom(1 << 16), f".mlops-probe-{os.urandom(8).hex()}"
    client.put_object(Bucket=name, Key=key, Body=content)
    try:
        if client.get_object(Bucket=name, Key=key)["Body"].read() != content:
            die(f"bucket {name}: what the server gives back is not what was stored")
    finally:
        client.delete_object(Bucket=name, Key=key)
    say(f"bucket {name}: gives back what is stored")


# collect


def moments(schedule: str) -> Iterator[datetime]:
    from cronsim import CronSim, CronSimError

    try:
        found: Iterator[datetime] = CronSim(schedule, datetime.now(UTC))
    except CronSimError as error:
        die(f"MLOPS_GC_SCHEDULE: {schedule!r} is not a cron expression: {error}")
    return found


def collector(environment: Mapping[str, str]) -> list[str]:
    older_than = environment.get("MLOPS_GC_OLDER_THAN", "30d")
    if not re.fullmatch(r"(\d+d)?(\d+h)?(\d+m)?(\d+s)?", older_than) or not older_than:
        die(f"MLOPS_GC_OLDER_THAN: {older_than!r} is not a time such as 30d or 12h30m")
    uri = required(environment, "MLFLOW_BACKEND_STORE_URI")
    return [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", uri, "--older-than", older_than]


def run_collector(environment: Mapping[str, str]) -> int:
    """Run it as a process of its own, so that MLflow is in memory only while there is something to do."""
    begun = time.monotonic()
    process = subprocess.Popen(collector(environment), env=dict(environment))
    while True:
        HEARTBEAT.touch()
        try:
            status = process.wait(timeout=HEARTBEAT_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        outcome = "done" if status == 0 else f"failed with status {status}, next try at the next time of the schedule"
        say(f"collection of deleted runs: {outcome} ({time.monotonic() - begun:.0f} s)")
        return status


def collect(environment: dict[str, str], once: bool) -> None:
    if once:
        sys.exit(run_collector(environment))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    collector(environment)  # refuses wrong settings now, not tonight
    schedule = environment.get("MLOPS_GC_SCHEDULE", "17 3 * * *")
    while True:
        due = next(moments(schedule))
        say(f"next collection at {due:%Y-%m-%dT%H:%M:%SZ}")
        while (left := (due - datetime.now(UTC)).total_seconds()) > 0:
            HEARTBEAT.touch()
            time.sleep(min(left, HEARTBEAT_SECONDS))
        run_collector(environment)


def main(arguments: list[str]) -> None:
    environment = exported(os.environ)
    match arguments:
        case ["serve"]:
            serve(environment)
        case ["prepare"]:
            prepare(environment)
        case ["bucket", name]:
            bucket(environment, name)
        case ["collect"]:
            collect(environment, once=False)
        case ["collect", "--once"]:
            collect(environment, once=True)
        case _:
            die("usage: mlflow-entrypoint serve | prepare | bucket NAME | collect [--once]")


if __name__ == "__main__":
    main(sys.argv[1:])
