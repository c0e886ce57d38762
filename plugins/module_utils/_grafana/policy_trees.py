# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tree of notification policies of an organisation: read, compare, write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from .._errors import InputError
from .._outcome import Outcome
from .apis import NOTIFICATIONS, Resources, provenance
from .client import GrafanaClient
from .policies import Policy, from_provisioning, from_resource, to_provisioning, to_resource
from .values import paths_that_differ

TREE = "user-defined"
"""What the successor calls the tree that the provisioning API has."""
DEFAULT: Policy = {"receiver": "grafana-default-email", "group_by": ["alertname", "grafana_folder"]}
"""The tree of a new organisation, where the server's settings don't say otherwise."""


class TreeStore(Protocol):
    """Where one organisation's tree is kept."""

    def read(self) -> tuple[Policy, str]:
        """The tree, and what has locked it."""

    def write(self, tree: Policy, *, locked: bool, was: str) -> None: ...

    def reset(self) -> None: ...


def tree_store(client: GrafanaClient) -> TreeStore:
    """The provisioning API where the server has it, else its successor."""
    return Provisioning(client) if client.provisions("policies") else TreeResource(client)


class Provisioning:
    """The tree through the provisioning API."""

    def __init__(self, client: GrafanaClient) -> None:
        self._client = client

    def read(self) -> tuple[Policy, str]:
        held = self._client.policies()
        return from_provisioning(held), str(held.get("provenance") or "")

    def write(self, tree: Policy, *, locked: bool, was: str) -> None:
        if was and not locked:
            # What is locked stays so when written; only a new beginning unlocks it. What Grafana refuses, it does here.
            self._client.write_policies(to_provisioning(tree), locked=True)
            self._client.reset_policies()
        self._client.write_policies(to_provisioning(tree), locked=locked)

    def reset(self) -> None:
        self._client.reset_policies()


class TreeResource:
    """The tree through ``notifications.alerting.grafana.app``."""

    def __init__(self, client: GrafanaClient) -> None:
        versions = ("v1beta1", "v0alpha1")
        self._resources = Resources(client, NOTIFICATIONS, "RoutingTree", "routingtrees", versions)

    def _held(self) -> dict[str, Any]:
        held = self._resources.find(TREE)
        if held is None:
            raise InputError(f"Grafana has no routing tree {TREE}, which the provisioning API's tree became")
        return held

    def read(self) -> tuple[Policy, str]:
        held = self._held()
        return from_resource(held["spec"]), provenance(held)

    def write(self, tree: Policy, *, locked: bool, was: str) -> None:
        if was and not locked:
            self._resources.replace(self._held(), to_resource(tree), locked=True)
            self._resources.delete(TREE)
        self._resources.replace(self._held(), to_resource(tree), locked=locked)

    def reset(self) -> None:
        self._resources.delete(TREE)


def tree_facts(tree: Policy, locked_by: str) -> dict[str, Any]:
    """A tree in the collection's form."""
    return {**tree, "locked": bool(locked_by), "provenance": locked_by}


class PolicyTree:
    """The tree of one organisation."""

    def __init__(self, client: GrafanaClient, *, check: bool) -> None:
        self._store = tree_store(client)
        self._check = check

    def find(self) -> dict[str, Any]:
        return tree_facts(*self._store.read())

    def present(self, wanted: Policy, *, locked: bool) -> Outcome:
        """Make the whole tree as it is wanted."""
        tree, was = self._store.read()
        _check_ours(was)
        before, after = tree_facts(tree, was), tree_facts(wanted, "api" if locked else "")
        changed = bool(paths_that_differ(after, before))
        if not changed or self._check:
            return Outcome(changed, before, after, after)
        self._store.write(wanted, locked=locked, was=was)
        found = self.find()
        wrong = paths_that_differ(after, found)
        if wrong:
            raise InputError(
                f"Grafana took the policies, but keeps them otherwise than declared, at {', '.join(wrong)}: "
                "declare them as Grafana keeps them, or without what this version doesn't know"
            )
        return Outcome(True, before, after, found)

    def absent(self) -> Outcome:
        """Back to what a new organisation has."""
        tree, was = self._store.read()
        _check_ours(was)
        before, after = tree_facts(tree, was), tree_facts(DEFAULT, "")
        if before == after or self._check:
            return Outcome(before != after, before, after, after)
        self._store.reset()
        found = self.find()
        return Outcome(before != found, before, found, found)


def _check_ours(locked_by: str) -> None:
    if locked_by not in ("", "api"):
        raise InputError(f"the notification policies are provisioned by {locked_by}; change them there")


def as_new(wanted: Policy, params: Mapping[str, Any]) -> Outcome:
    """What the tree would be at a server that nothing is known of."""
    before = tree_facts(DEFAULT, "")
    after = tree_facts(wanted, "api" if params["locked"] else "")
    return Outcome(True, before, after, after)
