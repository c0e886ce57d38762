# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A set from nothing to nothing, and every way of changing it in between."""

from __future__ import annotations

import time
from typing import Any

import pytest
from cluster import SECRETS, Cluster, job, server

pytestmark = pytest.mark.docker


def platform() -> list[dict[str, Any]]:
    store = server(
        "store",
        volumes=[{"name": "data", "path": "/data", "size": "1Gi"}],
        scratch=[{"path": "/tmp", "size": "1Mi"}],
    )
    web = server(
        configs=[{"path": "/etc/web/web.ini", "content": "colour = red\n"}],
        secrets=[{"name": "web_password", "path": "/run/secrets/password", "mode": "0440"}],
        env={"COLOUR": "red"},
        routes=[{"name": "page", "host": "web", "port": "http"}],
        connects=["store"],
        replicas=2,
        jobs=[job("web-prepare", "echo prepared; wget -q -O - http://store:8080/", connects=["store"])],
    )
    return [web, store]


def test_from_nothing_to_nothing(cluster: Cluster) -> None:
    checked = cluster.apply(*platform(), check=True)
    assert checked.changed and not any(cluster.objects().values())

    result = cluster.apply(*platform())
    assert {name: outcome.status for name, outcome in result.workloads.items()} == {
        "web": "healthy",
        "store": "healthy",
        "web-prepare": "completed",
    }
    assert result.workloads["web-prepare"].log == ["prepared", "hello"]
    order = [line.split()[2] for line in result.progress if "create" in line and "network" not in line]
    assert order == ["store:", "web-prepare:", "web:"]

    begin = time.monotonic()
    again = cluster.apply(*platform())
    assert not again.changed and not again.before and not again.after
    assert time.monotonic() - begin < 2, "a run that changes nothing is a matter of a second or two"

    _files_and_rights(cluster)
    _networks(cluster)

    gone = cluster.absent(remove_volumes=True)
    assert gone.changed and not any(cluster.objects().values())
    assert not cluster.engine.get("/containers/json", all=True, filters={"name": [f"^/{cluster.namespace}_"]})
    assert not cluster.absent(remove_volumes=True).changed


def _files_and_rights(cluster: Cluster) -> None:
    listed = cluster.run("web", "stat", "-c", "%u:%g %a %n", "/etc/web/web.ini", "/run/secrets/password")
    assert listed.splitlines() == ["10001:10001 444 /etc/web/web.ini", "10001:10001 440 /run/secrets/password"]
    assert cluster.run("web", "cat", "/run/secrets/password") == SECRETS["web_password"]
    assert cluster.run("web", "cat", "/etc/web/web.ini") == "colour = red"
    code, output = cluster.engine.exec(cluster.container("web"), ["touch", "/x"], timeout=10)
    assert code == 1 and "Read-only" in output
    status = cluster.run("web", "cat", "/proc/1/status")
    assert "CapPrm:\t0000000000000000" in status and "CapBnd:\t0000000000000000" in status
    assert cluster.run("store", "sh", "-c", "echo x > /data/x; echo x > /tmp/x; stat -c %a /tmp") == "1777"
    text = str(cluster.service("web")) + str(cluster.engine.get(f"/containers/{cluster.container('web')}/json"))
    assert SECRETS["web_password"] not in text
    container = cluster.engine.get(f"/containers/{cluster.container('web')}/json")
    assert container["HostConfig"]["LogConfig"] == {
        "Type": "json-file",
        "Config": {"max-file": "3", "max-size": "10m"},
    }


def _networks(cluster: Cluster) -> None:
    networks = {network["Name"]: network for network in cluster.engine.get("/networks")}
    assert networks[f"{cluster.namespace}_data"]["Internal"] and not networks[f"{cluster.namespace}_edge"]["Internal"]
    assert cluster.run("web", "wget", "-q", "-O", "-", "http://store:8080/") == "hello"
    found = cluster.run("store", "python3", "-c", "import socket; print(len(socket.gethostbyname_ex('web')[2]))")
    assert found == "2", "a name resolves to the addresses of all healthy tasks"


def test_changes(cluster: Cluster) -> None:
    """Each change is made, named, and made once; superseded objects are collected."""
    base = server(
        configs=[{"path": "/etc/web.ini", "content": "a"}],
        secrets=[{"name": "web_password", "path": "/run/secrets/password"}],
        jobs=[job("web-prepare", "echo one")],
    )
    cluster.apply(base)
    before = cluster.objects()
    changed = {
        **base,
        "image": "two",
        "env": {"COLOUR": "blue"},
        "configs": [{"path": "/etc/web.ini", "content": "b"}],
        "jobs": [job("web-prepare", "echo two")],
    }
    secret = {"web_password": "another horse"}
    checked = cluster.apply(changed, secret_values=secret, check=True)
    assert cluster.objects() == before
    result = cluster.apply(changed, secret_values=secret)
    assert result.workloads["web"].why == checked.workloads["web"].why
    assert result.workloads["web"].why == [
        "Labels.mlops.image",
        "Configs./etc/web.ini.ConfigName",
        "Env.COLOUR",
        "Image",
        "Secrets./run/secrets/password.SecretName",
    ]
    assert result.workloads["web-prepare"].log == ["two"] and result.workloads["web-prepare"].why == ["changed"]
    container = result.after["web"]["TaskTemplate"]["ContainerSpec"]
    assert container["Configs"]["/etc/web.ini"]["Content"] == "b"
    assert "another horse" not in str(result.to_dict())
    after = cluster.objects()
    assert {kind: len(names) for kind, names in after.items()} == {kind: len(names) for kind, names in before.items()}
    assert after["configs"] != before["configs"] and after["secrets"] != before["secrets"]
    assert cluster.run("web", "cat", "/etc/web.ini", "/run/secrets/password") == "banother horse"
    assert not cluster.apply(changed, secret_values=secret).changed


def test_what_somebody_changed_by_hand_is_put_right(cluster: Cluster) -> None:
    web = server(env={"COLOUR": "red"}, labels={"team": "a"}, routes=[{"name": "page", "host": "web", "port": "http"}])
    cluster.apply(web, server("other", zone="metrics"))
    wanted = cluster.service("web")["Spec"]
    strange = cluster.engine.get(f"/networks/{cluster.namespace}_metrics")["Id"]

    def spoil(spec: dict[str, Any]) -> None:
        container = spec["TaskTemplate"]["ContainerSpec"]
        container["Env"] = ["COLOUR=green", "EXTRA="]
        container["Image"] = "t-workload/server:2"
        container["Mounts"] = [{"Type": "tmpfs", "Target": "/spoilt"}]
        container["Healthcheck"]["Retries"] = 7
        spec["TaskTemplate"]["Networks"].append({"Target": strange})
        spec["TaskTemplate"]["Resources"]["Limits"]["MemoryBytes"] *= 2
        spec["Mode"]["Replicated"]["Replicas"] = 3
        spec["Labels"] = {"mlops.namespace": cluster.namespace, "mlops.set": "platform", "empty": ""}

    cluster.edit("web", spoil)
    result = cluster.apply(web, server("other", zone="metrics"))
    assert not result.workloads["other"].changed
    assert set(result.workloads["web"].why) >= {
        "Env.COLOUR",
        "Env.EXTRA",
        "Image",
        "Healthcheck.Retries",
        f"Networks.{cluster.namespace}_metrics",
        "Resources.Limits.MemoryBytes",
        "Mode.Replicated.Replicas",
        "Labels.team",
        "Labels.empty",
        "Labels.mlops.routes",
    }
    assert cluster.service("web")["Spec"] == wanted

    cluster.edit("web", lambda spec: spec.update(Labels={}))
    assert cluster.apply(web, server("other", zone="metrics")).workloads["web"].changed
    assert cluster.service("web")["Spec"] == wanted
    cluster.edit("web", lambda spec: spec["TaskTemplate"].update(ForceUpdate=1))
    assert not cluster.apply(web, server("other", zone="metrics")).changed, "a restart by hand is no drift"

    cluster.engine.delete(f"/services/{cluster.namespace}_web")
    assert cluster.apply(web, server("other", zone="metrics")).workloads["web"].why == ["new"]


def test_sets_have_one_owner(cluster: Cluster) -> None:
    store = server("store")
    model = server("model-a", zone="models", connects=["store"])
    cluster.apply(store, server("web"))
    cluster.apply(model, set_name="models")
    spec = cluster.service("model-a")["Spec"]
    assert len(spec["TaskTemplate"]["Networks"]) == 2, "it joins the zone of what it connects to, of another set"

    result = cluster.apply(store)
    assert result.workloads["web"].status == "absent" and result.workloads["web"].changed
    assert cluster.objects()["services"] == [f"{cluster.namespace}_model-a", f"{cluster.namespace}_store"]
    error = cluster.fails(store, server("model-a"))
    assert "the set 'models' has a workload of this name" in str(error)
    assert not cluster.apply(store, prune=False).changed
    cluster.apply(set_name="models")
    assert cluster.objects()["services"] == [f"{cluster.namespace}_store"]
    assert cluster.objects()["networks"] == [f"{cluster.namespace}_data"]


def test_a_part_of_a_set_leaves_the_jobs_of_the_rest_alone(cluster: Cluster) -> None:
    web, store = (
        server("web", jobs=[job("web-prepare", "echo one")]),
        server("store", jobs=[job("store-prepare", "echo")]),
    )
    cluster.apply(web, store)
    assert not cluster.apply(store, prune=False).changed
    changed = {**store, "jobs": [job("store-prepare", "echo two")]}
    assert cluster.apply(changed, prune=False).workloads["store-prepare"].changed
    assert not cluster.apply(web, changed).changed
    jobs = [name for name in cluster.objects()["services"] if "prepare" in name]
    assert len(jobs) == 2, jobs


def test_a_network_that_another_run_has_just_made_stays(cluster: Cluster) -> None:
    """It makes all its networks before its first service, and its last may come minutes later."""
    made, left = f"{cluster.namespace}_stream", f"{cluster.namespace}_models"
    model, reader = server("model-a", zone="models"), server("reader", zone="stream")
    cluster.apply(reader)
    cluster.engine.delete(f"/services/{cluster.namespace}_reader")
    cluster.apply(model, server("model-b", zone="models"), set_name="models")
    cluster.apply(model, set_name="models")
    assert cluster.objects()["networks"] == [left, made]
    cluster.absent("models", names=["model-a"])
    assert cluster.objects()["networks"] == [made]
    assert cluster.apply(reader).workloads["reader"].status == "healthy"


def test_a_port_of_the_host_moves(cluster: Cluster) -> None:
    """Start-first is asked for, and would hang; a renamed workload takes the port over."""
    ports = [{"name": "http", "port": 8080, "published": 18999}]
    update = {"order": "start-first", "health_window": 30}
    web = server(ports=ports, update=update)
    cluster.apply(web)
    cluster.apply({**web, "env": {"A": "1"}})
    assert cluster.service("web")["Spec"]["UpdateConfig"]["Order"] == "stop-first"
    cluster.apply(server("front", ports=ports, update=update))
    assert cluster.objects()["services"] == [f"{cluster.namespace}_front"]


def test_a_circle_of_connections_starts(cluster: Cluster) -> None:
    result = cluster.apply(server("a", connects=["b"]), server("b", connects=["a"]))
    assert all(outcome.status == "healthy" for outcome in result.workloads.values())


def test_the_agents_socket(cluster: Cluster) -> None:
    """The socket's group, and nothing else of root's; nobody else gets it."""
    cluster.apply(server("agent", cluster_access=True), server("web"))
    script = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/var/run/docker.sock');"
        "s.sendall(b'GET /_ping HTTP/1.0\\r\\n\\r\\n'); print(s.recv(100).decode().split()[1])"
    )
    assert cluster.run("agent", "python3", "-c", script) == "200"
    code, _ = cluster.engine.exec(cluster.container("web"), ["test", "-e", "/var/run/docker.sock"], timeout=10)
    assert code == 1
