# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Replicas come and go behind the gateway, on a real cluster."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Iterator

import pytest
from stand import NAMESPACE, Stand, connect, echo_workload, wait_for

PATH = f"/seldon/{NAMESPACE}/echo/api/v1.0/predictions"


@pytest.fixture(autouse=True)
def echo(stand: Stand) -> Iterator[None]:
    """Two replicas, known to the gateway."""
    stand.apply(echo_workload())
    wait_for(lambda: len(stand.servers("echo")) == 2, 20, "two servers in the configuration")
    wait_for(lambda: stand.get(PATH)[0] == 200, 10, "an answer through the gateway")
    time.sleep(1.5)
    yield


def shares(stand: Stand, count: int) -> dict[str, int]:
    found: dict[str, int] = {}
    for _ in range(count):
        status, body = stand.get(PATH)
        assert status == 200, body
        server = json.loads(body)["server"]
        found[server] = found.get(server, 0) + 1
    return found


def test_every_replica_gets_its_share_and_the_prefix_is_taken_off(stand: Stand) -> None:
    found = shares(stand, 60)
    assert sorted(found.values()) == [30, 30]
    assert json.loads(stand.get(PATH)[1])["path"] == "/api/v1.0/predictions"
    assert stand.get(f"/seldon/{NAMESPACE}/echo2/api")[0] == 404
    assert stand.get(PATH, host="elsewhere.example.org")[0] == 404


def test_a_new_replica_gets_its_share_and_nobody_notices(stand: Stand) -> None:
    with stand.load(PATH) as load:
        stand.apply(echo_workload(replicas=3))
        took = wait_for(lambda: len(shares(stand, 12)) == 3, 20, "a share for the third replica")
        time.sleep(1)
    assert not load.failures
    assert max(shares(stand, 90).values()) == 30
    print(f"BAR a new replica answers: {took:.1f} s after it is healthy; {load.total} requests, none failed")


def test_a_killed_replica_is_gone_within_about_a_second(stand: Stand) -> None:
    stand.apply(echo_workload(replicas=3))
    wait_for(lambda: len(shares(stand, 12)) == 3, 20, "three replicas")
    victim = stand.task("echo")
    address = victim.addresses["edge"]
    with stand.load(PATH) as load:
        time.sleep(1)
        begun = time.monotonic()
        stand.target.kill(victim)
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
    with stand.load(PATH, "POST") as load:
        stand.apply(echo_workload(env={"VERSION": "2"}))
        time.sleep(2)
    assert not load.failures, load.failures[:5]
    assert json.loads(stand.get(PATH)[1])["version"] == "2"
    print(f"BAR a rollout: {load.total} requests, {len(load.failures)} failed, the slowest {load.slowest:.2f} s")


def test_replicas_that_go_lose_no_request(stand: Stand) -> None:
    stand.apply(echo_workload(replicas=4))
    wait_for(lambda: len(shares(stand, 16)) == 4, 20, "four replicas")
    with stand.load(PATH, "POST") as load:
        stand.apply(echo_workload())
        wait_for(lambda: len(stand.servers("echo")) == 2, 10, "two are out of the configuration")
        time.sleep(4)
    assert not load.failures, load.failures[:5]


def test_a_rollout_beside_the_agents_own_loses_no_request(stand: Stand) -> None:
    agent = next(workload for workload in stand.platform if workload["name"] == "agent")
    other = dataclasses.replace(stand, seam=connect(stand.target))
    with stand.load(PATH, "POST") as load:
        rollout = threading.Thread(target=other.apply, args=[echo_workload(env={"VERSION": "3"})])
        rollout.start()
        stand.apply_platform(agent={"env": {**agent["env"], "ROLLED": "1"}})
        rollout.join()
        time.sleep(4)
    assert not load.failures, load.failures[:5]
    stand.apply_platform()


def test_a_replica_that_lives_but_is_not_ready_gets_nothing(stand: Stand) -> None:
    with stand.load(PATH) as load:
        stand.apply(echo_workload(), echo_workload("slow", 1, env={"READY_AFTER": "6"}))
        wait_for(lambda: stand.servers("slow"), 20, "the slow one is ready")
        time.sleep(2)
    assert not load.failures
    assert stand.get(f"/seldon/{NAMESPACE}/slow/x")[0] == 200


def test_the_gateway_goes_on_while_the_agent_is_restarted(stand: Stand) -> None:
    before = stand.configuration()
    with stand.load(PATH) as load:
        stand.target.kill(stand.task("agent"))
        wait_for(lambda: not any(task.healthy for task in stand.observed("agent").tasks), 10, "the agent is down")
        wait_for(lambda: any(task.healthy for task in stand.observed("agent").tasks), 30, "the agent is back")
        time.sleep(3)
    assert not load.failures, load.failures[:5]
    assert stand.configuration() == before


def test_without_the_agent_the_gateway_goes_on_even_when_a_replica_dies(stand: Stand) -> None:
    stand.apply(echo_workload(replicas=3))
    wait_for(lambda: len(shares(stand, 12)) == 3, 20, "three replicas")
    try:
        stand.apply_platform(agent={"replicas": 0})
        with stand.load(PATH) as load:
            time.sleep(1)
            stand.target.kill(stand.task("echo"))
            time.sleep(6)
        assert not load.failures, load.failures[:5]
        assert len(load.answers) == 3
        # One that starts again in its old place is known to the gateway already.
        assert len(shares(stand, 20)) >= 2
    finally:
        stand.apply_platform()
    took = wait_for(lambda: len(shares(stand, 12)) == 3, 30, "the successor, once the agent is back")
    print(f"BAR without the agent: {load.total} requests, none failed; its news is heard {took:.1f} s after it is back")


def test_the_agent_is_small(stand: Stand) -> None:
    command = ("sh", "-c", "grep -h -E '^(Name|VmRSS)' /proc/[0-9]*/status")
    code, output = stand.exec("agent", *command)
    assert code == 0
    size = sum(int(line.split()[1]) for line in output.splitlines() if line.startswith("VmRSS")) / 1024
    print(f"BAR the agent's memory on {stand.target.name}: {size:.0f} MB (below 60)")
    assert size < 60
