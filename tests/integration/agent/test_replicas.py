# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Replicas come and go behind the gateway, on a real Swarm."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from stand import NAMESPACE, Load, Stand, echo_workload, get, wait_for

PATH = f"/seldon/{NAMESPACE}/echo/api/v1.0/predictions"


@pytest.fixture(autouse=True)
def echo(stand: Stand) -> Iterator[None]:
    """Two replicas, known to the gateway."""
    stand.apply(echo_workload())
    wait_for(lambda: len(stand.servers("echo")) == 2, 20, "two servers in the configuration")
    wait_for(lambda: get(PATH)[0] == 200, 10, "an answer through the gateway")
    time.sleep(1.5)
    yield


def shares(count: int) -> dict[str, int]:
    found: dict[str, int] = {}
    for _ in range(count):
        status, body = get(PATH)
        assert status == 200, body
        server = json.loads(body)["server"]
        found[server] = found.get(server, 0) + 1
    return found


def test_every_replica_gets_its_share_and_the_prefix_is_taken_off(stand: Stand) -> None:
    found = shares(60)
    assert sorted(found.values()) == [30, 30]
    assert json.loads(get(PATH)[1])["path"] == "/api/v1.0/predictions"
    assert get(f"/seldon/{NAMESPACE}/echo2/api")[0] == 404
    assert get(PATH, host="elsewhere.example.org")[0] == 404


def test_a_new_replica_gets_its_share_and_nobody_notices(stand: Stand) -> None:
    with Load(PATH) as load:
        stand.apply(echo_workload(replicas=3))
        took = wait_for(lambda: len(shares(12)) == 3, 20, "a share for the third replica")
        time.sleep(1)
    assert not load.failures
    assert max(shares(90).values()) == 30
    print(f"BAR a new replica answers: {took:.1f} s after it is healthy; {load.total} requests, none failed")


def test_a_killed_replica_is_gone_within_about_a_second(stand: Stand) -> None:
    stand.apply(echo_workload(replicas=3))
    wait_for(lambda: len(shares(12)) == 3, 20, "three replicas")
    victim = stand.container("echo")
    address = next(task.addresses["edge"] for task in stand.observed("echo").tasks if task.container == victim.id)
    with Load(PATH) as load:
        time.sleep(1)
        begun = time.monotonic()
        victim.kill()
        told = wait_for(lambda: address not in stand.servers("echo"), 5, "the dead server is out of the configuration")
        wait_for(lambda: len(stand.servers("echo")) == 3, 30, "its successor")
        back = time.monotonic() - begun
        time.sleep(1)
    assert not load.failures, load.failures[:5]
    assert told < 2
    print(
        f"BAR a killed replica: out of the configuration after {told:.2f} s (about 1), successor in after {back:.1f}; "
        f"{load.total} requests, none failed, the slowest {load.slowest:.2f} s"
    )


def test_a_rollout_loses_no_request(stand: Stand) -> None:
    with Load(PATH, method="POST") as load:
        stand.apply(echo_workload(env={"VERSION": "2"}))
        time.sleep(2)
    assert not load.failures, load.failures[:5]
    assert json.loads(get(PATH)[1])["version"] == "2"


def test_a_replica_that_lives_but_is_not_ready_gets_nothing(stand: Stand) -> None:
    with Load(PATH) as load:
        stand.apply(echo_workload(), echo_workload("slow", 1, env={"READY_AFTER": "6"}))
        wait_for(lambda: stand.servers("slow"), 20, "the slow one is ready")
        time.sleep(2)
    assert not load.failures
    assert get(f"/seldon/{NAMESPACE}/slow/x")[0] == 200


def test_the_gateway_goes_on_while_the_agent_is_restarted(stand: Stand) -> None:
    before = stand.configuration()
    with Load(PATH) as load:
        stand.container("agent").kill()
        wait_for(lambda: not any(task.healthy for task in stand.observed("agent").tasks), 10, "the agent is down")
        wait_for(lambda: any(task.healthy for task in stand.observed("agent").tasks), 30, "the agent is back")
        time.sleep(3)
    assert not load.failures, load.failures[:5]
    assert stand.configuration() == before


def test_without_the_agent_the_gateway_goes_on_even_when_a_replica_dies(stand: Stand) -> None:
    stand.apply(echo_workload(replicas=3))
    wait_for(lambda: len(shares(12)) == 3, 20, "three replicas")
    agent = next(workload for workload in stand.platform if workload["name"] == "agent")
    try:
        stand.seam.apply(
            "platform",
            [{**agent, "replicas": 0}, *(workload for workload in stand.platform if workload is not agent)],
            images=stand.images,
            secret_values=stand.secret_values,
        )
        with Load(PATH) as load:
            time.sleep(1)
            stand.container("echo").kill()
            time.sleep(6)
        assert not load.failures, load.failures[:5]
        assert len(load.answers) == 3
        assert len(shares(20)) == 2
    finally:
        stand.apply_platform()
    took = wait_for(lambda: len(shares(12)) == 3, 30, "the successor, once the agent is back")
    print(f"BAR without the agent: {load.total} requests, none failed; its news is heard {took:.1f} s after it is back")


def test_the_agent_is_small(stand: Stand) -> None:
    code, output = stand.container("agent").exec_run(["sh", "-c", "grep -h -E '^(Name|VmRSS)' /proc/[0-9]*/status"])
    assert code == 0
    sizes = [int(line.split()[1]) for line in output.decode().splitlines() if line.startswith("VmRSS")]
    print(f"BAR the agent's memory: {sum(sizes) / 1024:.0f} MB (below 60)")
    assert sum(sizes) < 60 * 1024
