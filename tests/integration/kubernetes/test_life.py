# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A set from nothing to nothing, and every way of changing it in between."""

from __future__ import annotations

import time
from typing import Any

import pytest
from cluster import AGENT_RULES, SECRETS, Cluster, bed, job, server


def platform() -> list[dict[str, Any]]:
    store = server("store", volumes=[{"name": "data", "path": "/data", "size": "16Mi"}])
    web = server(
        configs=[{"path": "/etc/web/web.ini", "content": "colour = red\n"}],
        secrets=[{"name": "web_password", "path": "/run/secrets/password", "mode": "0440"}],
        env={"COLOUR": "red"},
        routes=[{"name": "page", "host": "web", "port": "http"}],
        metrics={"port": "http", "path": "/live"},
        labels={"team": "a b"},
        connects=["store"],
        replicas=2,
        jobs=[job("web-prepare", "echo prepared; wget -q -O - http://store:8080/", connects=["store"])],
    )
    return [web, store]


def test_from_nothing_to_nothing(cluster: Cluster) -> None:
    checked = cluster.apply(*platform(), check=True)
    assert checked.changed and not cluster.objects()
    assert {outcome.why[0] for outcome in checked.workloads.values()} == {"new"}

    result = cluster.apply(*platform())
    assert {name: outcome.status for name, outcome in result.workloads.items()} == {
        "web": "healthy",
        "store": "healthy",
        "web-prepare": "completed",
    }
    assert result.workloads["web-prepare"].log == ["prepared", "hello"]
    order = [line.split()[2] for line in result.progress if ": create " in line]
    assert order == ["store:", "web-prepare:", "web:"]
    pods = {pod["metadata"]["uid"] for pod in cluster.pods("web")}

    again = cluster.apply(*platform())
    assert not again.changed and not again.before and not again.after
    assert not cluster.apply(*platform(), check=True).changed
    assert {pod["metadata"]["uid"] for pod in cluster.pods("web")} == pods

    _files_and_rights(cluster)
    _observed(cluster)

    gone = cluster.absent()
    assert gone.changed and "store-data" in gone.notes[0]
    assert cluster.objects() == [f"Namespace {cluster.namespace}", _claim(cluster)], "data are kept"
    assert not cluster.absent().changed
    cluster.apply(*platform())
    assert cluster.run("store", "cat /data/x") == "x"
    checked = cluster.absent(remove_volumes=True, check=True)
    assert checked.changed and _claim(cluster) in cluster.objects()
    assert cluster.absent(remove_volumes=True).changed and not cluster.objects()
    assert not cluster.absent(remove_volumes=True).changed


def _claim(cluster: Cluster) -> str:
    return f"PersistentVolumeClaim store-data in {cluster.namespace}"


def _files_and_rights(cluster: Cluster) -> None:
    assert cluster.run("web", "cat /run/secrets/password") == SECRETS["web_password"]
    assert cluster.run("web", "cat /etc/web/web.ini") == "colour = red"
    assert cluster.run("web", "touch /x 2>&1 || id -u").splitlines()[-1] == "10001"
    assert "CapBnd:\t0000000000000000" in cluster.run("web", "cat /proc/1/status")
    assert cluster.run("store", "echo x >/data/x; cat /data/x") == "x"
    assert cluster.run("web", "ls /var/run/secrets/kubernetes.io 2>/dev/null; echo $?") == "1", "no token"
    assert cluster.run("store", "nslookup -type=a web | grep -c 10.244") == "2", "a name is all ready Pods"
    assert SECRETS["web_password"] not in str(cluster.get("Deployment", "web"))


def _observed(cluster: Cluster) -> None:
    found = {item.name: item for item in cluster.backend().observe()}
    web = found["web"]
    assert (web.set_name, web.kind, web.image, web.zone, web.replicas) == ("platform", "service", "one", "data", 2)
    assert web.routes[0]["host"] == "web.test" and web.routes[0]["readiness"]["path"] == "/live"
    assert web.metrics == {"port": 8080, "path": "/live"} and web.labels == {"team": "a b"}
    assert web.healthy and all(task.healthy and task.state == "running" for task in web.tasks)
    assert {task.addresses["edge"] for task in web.tasks} == {pod["status"]["podIP"] for pod in cluster.pods("web")}
    assert found["web-prepare"].status == "completed" and found["web-prepare"].tasks[0].state == "complete"
    assert cluster.backend().logs("web")[-1] == "serving"
    assert [item.name for item in cluster.backend().observe("models")] == []


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
        "metrics": {"port": "http"},
    }
    secret = {"web_password": "another horse"}
    checked = cluster.apply(changed, secret_values=secret, check=True)
    assert cluster.objects() == before
    result = cluster.apply(changed, secret_values=secret)
    assert result.workloads["web"].why == checked.workloads["web"].why
    assert set(result.workloads["web"].why) == {
        "annotations.mlops.onprem/image",
        "annotations.mlops.onprem/metrics",
        "env.COLOUR",
        "image",
        "volumes.config.configMap.name",
        "volumes.secret.secret.secretName",
        "NetworkPolicy web",
    }
    assert result.workloads["web-prepare"].log == ["two"] and result.workloads["web-prepare"].why == ["changed"]
    assert result.before["web"]["ConfigMap"]["data"] == {"web.ini": "a"}
    assert result.after["web"]["ConfigMap"]["data"] == {"web.ini": "b"}
    assert "another horse" not in str(result.to_dict()) and SECRETS["web_password"] not in str(result.to_dict())
    after = cluster.objects()
    kinds = {kind: sum(item.startswith(f"{kind} ") for item in after) for kind in ("ConfigMap", "Secret", "Job")}
    assert kinds == {"ConfigMap": 1, "Secret": 1, "Job": 1}
    assert cluster.run("web", "cat /etc/web.ini /run/secrets/password") == "banother horse"
    assert not cluster.apply(changed, secret_values=secret).changed


def test_what_somebody_changed_by_hand(cluster: Cluster) -> None:
    """Fields of others are theirs; ours are put right where we may take them over, and refused where not."""
    web = server(env={"COLOUR": "red"}, replicas=2)
    cluster.apply(web)
    cluster.edit(
        "Deployment",
        "web",
        {"spec": {"replicas": 1, "paused": None, "template": {"metadata": {"annotations": {"restartedAt": "now"}}}}},
    )
    cluster.edit("Deployment", "web", {"metadata": {"labels": {"mlops.onprem/zone": "models", "theirs": "kept"}}})
    error = cluster.fails(web)
    assert "nothing was changed" in str(error) and "set mlops_force_conflicts" in str(error)
    assert "spec.replicas" in str(error) and "to somebody" in str(error) and "metadata.labels" in str(error)
    forced = cluster.backend(force_conflicts=True).apply("platform", [web], images=cluster.images)
    assert set(forced.workloads["web"].why) == {"replicas", "labels.mlops.onprem/zone"}
    live = cluster.get("Deployment", "web")
    assert live["spec"]["replicas"] == 2 and live["metadata"]["labels"]["theirs"] == "kept"
    assert not cluster.apply(web).changed, "a restart by hand is no drift"

    cluster.remove("Service", "web")
    cluster.remove("NetworkPolicy", "mlops.onprem.default")
    cluster.edit("ServiceAccount", "web", {"metadata": {"labels": None}})
    result = cluster.backend(force_conflicts=True).apply("platform", [web], images=cluster.images)
    assert set(result.workloads["web"].why) >= {"Service web"} and result.after["objects"]
    assert cluster.get("ServiceAccount", "web")["metadata"]["labels"]["mlops.onprem/workload"] == "web"
    cluster.remove("Deployment", "web")
    assert cluster.apply(web).workloads["web"].why == ["new"]


def test_sets_have_one_owner(cluster: Cluster) -> None:
    store = server("store")
    model = server("model-a", zone="models", connects=["store"])
    cluster.apply(store, server("web"))
    cluster.apply(model, set_name="models")
    result = cluster.apply(store)
    assert result.workloads["web"].status == "absent" and result.workloads["web"].changed
    assert not cluster.pods("web")
    error = cluster.fails(store, server("model-a"))
    assert "the set 'models' has a workload of this name" in str(error)
    assert not cluster.apply(store, prune=False).changed
    cluster.apply(set_name="models")
    assert not cluster.pods("model-a") and cluster.pods("store")
    cluster.apply(model, server("model-b"), set_name="models")
    assert cluster.absent("models", names=["model-b"]).changed and cluster.pods("model-a")
    cluster.absent()
    assert cluster.pods("model-a") and not cluster.pods("store"), "the namespace stays as long as anything is in it"
    cluster.absent("models")
    assert not cluster.objects()


def test_a_port_of_the_host(cluster: Cluster) -> None:
    """It lives in the second namespace, is known by name in the first, and is taken over by a renamed workload."""
    ports = [{"name": "http", "port": 8080, "published": 18999}]
    store, web = server("store"), server(ports=ports, connects=["store"], zone="edge", update={"health_window": 30})
    cluster.apply(store, web, server("after", connects=["web"]))
    assert cluster.pods("web")[0]["metadata"]["namespace"] == f"{cluster.namespace}-edge"
    assert cluster.run("after", "wget -q -O - http://web:8080/") == "hello"
    assert cluster.run("web", "wget -q -O - http://store:8080/") == "hello"
    cluster.apply(store, {**web, "env": {"A": "1"}}, server("after", connects=["web"]))
    result = cluster.apply(store, server("front", ports=ports, zone="edge", update={"health_window": 30}))
    assert any("removing web" in line for line in result.progress) and not cluster.pods("web")
    cluster.absent()
    assert not cluster.objects()


def test_a_workload_becomes_another_kind_of_thing(cluster: Cluster) -> None:
    """Data come, a port comes: the new one is there before the old one goes."""
    cluster.apply(server())
    volume = {"volumes": [{"name": "data", "path": "/data", "size": "16Mi"}]}
    result = cluster.apply(server(**volume))
    assert result.workloads["web"].why == ["kind"]
    assert [item for item in cluster.objects() if item.startswith(("Dep", "Stateful"))] == [
        f"StatefulSet web in {cluster.namespace}"
    ]
    error = cluster.fails(server(ports=[{"name": "http", "port": 8080, "published": 18998}], **volume))
    assert "its data are in the namespace" in str(error)
    cluster.apply(server())
    result = cluster.apply(server(ports=[{"name": "http", "port": 8080, "published": 18998}]))
    assert result.workloads["web"].why == ["namespace"]
    assert len(cluster.pods("web")) == 1
    cluster.apply(server())
    assert [pod["metadata"]["namespace"] for pod in cluster.pods("web")] == [cluster.namespace]


def test_a_circle_of_connections_starts(cluster: Cluster) -> None:
    result = cluster.apply(server("a", connects=["b"]), server("b", connects=["a"]))
    assert all(outcome.status == "healthy" for outcome in result.workloads.values())


def test_many_cost_little(cluster: Cluster) -> None:
    """Ten workloads, with files, connections and jobs: a run that changes nothing is quick."""
    many = [
        server(
            f"w{number}",
            configs=[{"path": "/etc/w.ini", "content": str(number)}],
            secrets=[{"name": "web_password"}],
            replicas=0,
            connects=[f"w{number - 1}"] if number else [],
        )
        for number in range(10)
    ]
    cluster.apply(*many, timeout=120)
    begin = time.process_time()
    assert not cluster.apply(*many).changed
    assert time.process_time() - begin < 1.5


def test_the_agents_rights_are_enough(cluster: Cluster, on_bed: bool) -> None:
    """For a set of its own, with a volume, from nothing to nothing, beside the platform's."""
    if not on_bed:
        pytest.skip("only the bed makes users")
    user, namespace = f"agent-{cluster.namespace}", cluster.namespace
    cluster.apply(server("store"), server("web", ports=[{"name": "http", "port": 8080, "published": 18996}]))
    own = {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"], "resourceNames": [namespace]}
    rbac, metadata = "rbac.authorization.k8s.io", {"name": user, "namespace": namespace}
    cluster.put({"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": metadata, "rules": [*AGENT_RULES, own]})
    subjects = [{"apiGroup": rbac, "kind": "User", "name": user}]
    role = {"apiGroup": rbac, "kind": "Role", "name": user}
    binding = {"kind": "RoleBinding", "metadata": metadata, "roleRef": role, "subjects": subjects}
    cluster.put({"apiVersion": f"{rbac}/v1", **binding})
    cluster.options["kubeconfig"] = bed("kubeconfig", "--user", user)
    data = [{"name": "data", "path": "/data", "size": "16Mi"}]
    model = server("model", zone="models", connects=["store"], volumes=data, jobs=[job("model-fetch", "echo fetched")])
    assert cluster.apply(model, set_name="models").workloads["model"].status == "healthy"
    assert not cluster.apply(model, set_name="models").changed
    cluster.apply({**model, "image": "two"}, set_name="models")
    assert {item.name for item in cluster.backend().observe()} == {"store", "model", "model-fetch"}
    assert cluster.backend().logs("model")
    assert cluster.absent("models").changed and not cluster.pods("model")


def test_events_tell_of_changes(cluster: Cluster) -> None:
    cluster.apply(server())
    backend = cluster.backend()
    events = backend.events()
    cluster.api.delete(cluster.pods("web")[0])
    assert next(events) is not None
    assert len(backend.observe()) == 1
