# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Grants and settings between the declaration's words and those of kafka-python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    AlterConfigOp,
    ConfigResource,
    ConfigResourceType,
    ConfigSourceType,
    KafkaAdminClient,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)

from mlops_kafka.declaration import Grant
from mlops_kafka.settings import SettingsError

KINDS = {
    "topics": ResourceType.TOPIC,
    "groups": ResourceType.GROUP,
    "transactions": ResourceType.TRANSACTIONAL_ID,
}
OPERATIONS = {
    "read": ACLOperation.READ,
    "write": ACLOperation.WRITE,
    "create": ACLOperation.CREATE,
    "delete": ACLOperation.DELETE,
}
_KIND_OF = {value: key for key, value in KINDS.items()}
_RIGHT_OF = {value: key for key, value in OPERATIONS.items()}
ANY_HOST = "*"
EVERYTHING = ACLFilter(
    None,
    None,
    ACLOperation.ANY,
    ACLPermissionType.ANY,
    ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY),
)


def to_acl(grant: Grant) -> ACL:
    """``orders.*`` is Kafka's prefix ``orders.``; ``*`` alone is Kafka's own name for all."""
    prefixed = grant.name.endswith("*") and grant.name != "*"
    pattern = ResourcePattern(
        KINDS[grant.kind],
        grant.name[:-1] if prefixed else grant.name,
        ACLResourcePatternType.PREFIXED if prefixed else ACLResourcePatternType.LITERAL,
    )
    return ACL(f"User:{grant.user}", ANY_HOST, OPERATIONS[grant.right], ACLPermissionType.ALLOW, pattern)


def to_grant(acl: ACL) -> Grant | None:
    """None for what the declaration has no words for."""
    pattern = acl.resource_pattern
    kind, right = _KIND_OF.get(pattern.resource_type), _RIGHT_OF.get(acl.operation)
    allowed = acl.permission_type == ACLPermissionType.ALLOW and acl.host == ANY_HOST
    if not kind or not right or not allowed or not acl.principal.startswith("User:"):
        return None
    star = "*" if pattern.pattern_type == ACLResourcePatternType.PREFIXED else ""
    return Grant(acl.principal.removeprefix("User:"), kind, f"{pattern.resource_name}{star}", right)


def read(admin: KafkaAdminClient) -> tuple[frozenset[Grant], list[ACL]]:
    """The grants that there are, and those that the declaration has no words for."""
    found, _error = admin.describe_acls(EVERYTHING)
    grants = {acl: to_grant(acl) for acl in found}
    return frozenset(grant for grant in grants.values() if grant), [acl for acl, grant in grants.items() if not grant]


def add(admin: KafkaAdminClient, grants: Iterable[Grant]) -> None:
    wanted = [to_acl(grant) for grant in grants]
    failed = admin.create_acls(wanted)["failed"] if wanted else []
    if failed:
        raise SettingsError(f"grants can't be given: {', '.join(error.__name__ for error in failed)}")


def remove(admin: KafkaAdminClient, grants: Iterable[Grant], others: Iterable[ACL]) -> None:
    unwanted = [*map(to_acl, grants), *others]
    for _filter, _matching, error in admin.delete_acls(unwanted) if unwanted else []:
        if error.errno:
            raise SettingsError(f"grants can't be taken away: {error.__name__}")


def topic_settings(admin: KafkaAdminClient, name: str) -> dict[str, str]:
    """What somebody has set for this topic alone."""
    found = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)], config_filter="all")
    own = ConfigSourceType.DYNAMIC_TOPIC_CONFIG.name
    return {key: str(config["value"]) for key, config in found["topic"][name].items() if config["config_source"] == own}


def alter_topic(admin: KafkaAdminClient, name: str, changes: Mapping[str, str | None]) -> None:
    operations = {
        key: (AlterConfigOp.DELETE, None) if value is None else (AlterConfigOp.SET, value)
        for key, value in changes.items()
    }
    answer = admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, operations)])
    outcome = answer["topic"][name]
    if outcome != "OK":
        raise SettingsError(f"topic {name}: its settings can't be changed: {outcome}")
