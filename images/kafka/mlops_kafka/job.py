# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""mlops-kafka topics: makes users, grants and topics be what is declared. A second run changes nothing.

MLOPS_BROKER            host:port,... of the brokers
KAFKA_CERTIFICATE_FILE  the brokers' own key and certificate, by which the platform's administers them; or
MLOPS_BROKER_CA, MLOPS_BROKER_USERNAME, MLOPS_BROKER_PASSWORD_FILE: a user of the site's own brokers
MLOPS_USERS, MLOPS_TOPICS   the declaration; without MLOPS_USERS users and grants are left alone
MLOPS_LOGIN             host:port,... where users log in, to see that their passwords hold
MLOPS_WAIT              seconds to wait for the brokers
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kafka.admin import KafkaAdminClient, ScramMechanism, UserScramCredentialDeletion, UserScramCredentialUpsertion
from kafka.errors import KafkaError, TopicAlreadyExistsError

from mlops_kafka import acls
from mlops_kafka.declaration import Declaration, Present, User, plan_grants, plan_topics
from mlops_kafka.settings import SettingsError

MECHANISM = ScramMechanism.SCRAM_SHA_512
ATTEMPT_SECONDS = 10
SETTLE_SECONDS = 30


def say(message: str) -> None:
    print(f"mlops-kafka: {message}", flush=True)


def run(environ: Mapping[str, str]) -> int:
    # Each attempt at a broker that isn't there yet would be a page of its own.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    declaration = Declaration.read(environ.get("MLOPS_USERS", ""), environ.get("MLOPS_TOPICS", ""))
    passwords = {user.name: read_secret(user.password_file) for user in declaration.users or ()}
    settings = administrator(environ)
    login = {"bootstrap_servers": servers(environ, "MLOPS_LOGIN"), "ssl_cafile": settings["ssl_cafile"]}
    with connected(settings, float(environ.get("MLOPS_WAIT", "180"))) as admin:
        try:
            settle_users(admin, declaration, passwords, login)
            settle_grants(admin, declaration)
            problems = settle_topics(admin, declaration)
        except KafkaError as error:
            problems = [f"the broker refuses: {type(error).__name__}: {error}"]
    for problem in problems:
        say(problem)
    return 1 if problems else 0


# the connection


def read_secret(path: str) -> str:
    try:
        value = Path(path).read_text(encoding="utf-8").strip("\n")
    except OSError as error:
        raise SettingsError(f"a password can't be read: {error}") from error
    if not value:
        raise SettingsError(f"{path} is empty")
    return value


def servers(environ: Mapping[str, str], name: str) -> list[str]:
    found = [server.strip() for server in (environ.get(name) or environ.get("MLOPS_BROKER", "")).split(",")]
    if not all(found):
        raise SettingsError("MLOPS_BROKER is not set: host:port of a broker, or several with commas")
    return found


def administrator(environ: Mapping[str, str]) -> dict[str, Any]:
    settings: dict[str, Any] = {"bootstrap_servers": servers(environ, "MLOPS_BROKER"), "client_id": "mlops-topics"}
    certificate = environ.get("KAFKA_CERTIFICATE_FILE", "")
    if certificate:
        files = dict.fromkeys(("ssl_cafile", "ssl_certfile", "ssl_keyfile"), certificate)
        return {**settings, "security_protocol": "SSL", **files}
    return {
        **settings,
        **as_user(environ.get("MLOPS_BROKER_USERNAME", ""), read_secret(environ.get("MLOPS_BROKER_PASSWORD_FILE", ""))),
        "ssl_cafile": environ.get("MLOPS_BROKER_CA") or None,
    }


def as_user(name: str, password: str) -> dict[str, Any]:
    return {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": name,
        "sasl_plain_password": password,
    }


@contextmanager
def connected(settings: Mapping[str, Any], wait: float) -> Iterator[KafkaAdminClient]:
    """Raises SettingsError where no broker has let us in within ``wait`` seconds; the client paces its own attempts."""
    until = time.monotonic() + wait
    while True:
        try:
            client = KafkaAdminClient(**settings, bootstrap_timeout_ms=ATTEMPT_SECONDS * 1000)
            break
        except (KafkaError, OSError) as error:
            if time.monotonic() > until:
                places, who = ", ".join(settings["bootstrap_servers"]), settings.get("sasl_plain_username", "brokers")
                raise SettingsError(f"no broker at {places} lets {who} in within {wait:g} s: {error}") from None
    try:
        yield client
    finally:
        client.close()


# users


def settle_users(
    admin: KafkaAdminClient, declaration: Declaration, passwords: Mapping[str, str], login: Mapping[str, Any]
) -> None:
    """Passwords can't be read back to compare them: every user gets its own (again), and must be let in with it."""
    if declaration.users is None:
        return
    known = admin.describe_user_scram_credentials()
    gone = sorted(set(known) - {user.name for user in declaration.users})
    changes: list[Any] = [
        UserScramCredentialUpsertion(user.name, MECHANISM, passwords[user.name]) for user in declaration.users
    ]
    changes += [
        UserScramCredentialDeletion(name, info["mechanism"])
        for name in gone
        for info in known[name]["credential_infos"]
    ]
    failed = {name: error for name, error in admin.alter_user_scram_credentials(changes).items() if error}
    if failed:
        raise SettingsError(f"passwords can't be set: {failed}")
    for user in declaration.users:
        if user.name not in known:
            say(f"user {user.name}: made")
        check_login(user, passwords, login)
    for name in gone:
        say(f"user {name}: removed")


def check_login(user: User, passwords: Mapping[str, str], login: Mapping[str, Any]) -> None:
    """Metadata reach the broker that is asked a moment after the one that took them; the client tries until then."""
    try:
        KafkaAdminClient(
            **login, **as_user(user.name, passwords[user.name]), bootstrap_timeout_ms=SETTLE_SECONDS * 1000
        ).close()
    except KafkaError as error:
        places = ", ".join(login["bootstrap_servers"])
        raise SettingsError(f"user {user.name}: is not let in at {places} with its password: {error}") from None


# grants


def settle_grants(admin: KafkaAdminClient, declaration: Declaration) -> None:
    if declaration.users is None:
        return
    present, foreign = acls.read(admin)
    users = {user.name for user in declaration.users} | {grant.user for grant in present}
    add, remove = plan_grants(declaration.grants, present, users)
    acls.add(admin, add)
    acls.remove(admin, remove, foreign)
    for grant in add:
        say(f"user {grant.user}: may {grant.right} {grant.kind} {grant.name}")
    for grant in remove:
        say(f"user {grant.user}: may no longer {grant.right} {grant.kind} {grant.name}")
    if foreign:
        say(f"{len(foreign)} grants of another kind than the platform's: removed")


# topics


def settle_topics(admin: KafkaAdminClient, declaration: Declaration) -> list[str]:
    """Do what can be done; what can't is returned."""
    plan = plan_topics(declaration.topics, present_topics(admin, [topic.name for topic in declaration.topics]))
    if plan.problems:
        return list(plan.problems)
    for topic in plan.make:
        options = {"num_partitions": topic.partitions or -1, "replication_factor": -1, "configs": topic.settings}
        try:
            admin.create_topics({topic.name: options}, wait_for_metadata=True)
        except TopicAlreadyExistsError:
            # Its first message came in between.
            return settle_topics(admin, declaration)
        say(f"topic {topic.name}: made")
    for name, count in plan.partitions.items():
        admin.create_partitions({name: count})
        say(f"topic {name}: {count} partitions; keys may lie in others than before")
    for name, changes in plan.set.items():
        acls.alter_topic(admin, name, changes)
        what = ", ".join(
            f"{key} {'as the broker has it' if value is None else value}" for key, value in changes.items()
        )
        say(f"topic {name}: {what}")
    return []


def present_topics(admin: KafkaAdminClient, names: list[str]) -> dict[str, Present]:
    there = set(admin.list_topics()) & set(names)
    if not there:
        return {}
    found = {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics(sorted(there))}
    return {name: Present(count, acls.topic_settings(admin, name)) for name, count in found.items()}
