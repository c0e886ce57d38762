# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What a declaration says of retraining: what sets it off, whether a person is asked, and what a version must show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .drift import Drift
from .reading import Node

ACTIONS = ("retrain", "notify", "ask")
PROMOTIONS = ("auto", "manual")
SIDES = ("above", "below")
KINDS = ("drift", "performance", "promql")
DEFAULT_FOR = "1m"
DEFAULT_COOLDOWN = "1h"
DEFAULT_MAXIMUM_LOSS = 0.02

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_TIME_PATTERN = r"(?:0|[1-9][0-9]{0,8})[smhdw]"
_TIME_RULE = "is no time such as 30s, 2m, 1h, 7d or 2w"
_FLOW_PATTERN = r"[^:\s][^:\n]*\.py:[A-Za-z_]\w*"
_CRON_PATTERN = r"[0-9A-Za-z*/,#?-]+(?: +[0-9A-Za-z*/,#?-]+){4}"
_METRIC_PATTERN = r"[A-Za-z_][A-Za-z0-9_./ -]{0,249}"
_ZONE_PATTERN = r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*"
_ANY_NUMBER = {"low": -1e15, "high": 1e15}


@dataclass(frozen=True, slots=True)
class Schedule:
    """When it is retrained whatever is observed: by a cron line or every so often."""

    cron: str = ""
    timezone: str = ""
    interval: str = ""

    def kept(self) -> dict[str, object]:
        given = {"cron": self.cron, "timezone": self.timezone, "interval": self.interval}
        return {key: value for key, value in given.items() if value}


@dataclass(frozen=True, slots=True)
class Trigger:
    """One alert rule. ``subject``: the performance measure or the PromQL expression; a drift trigger has none."""

    kind: str
    subject: str = ""
    side: str = ""
    limit: float = 0.0
    held: str = DEFAULT_FOR
    """How long it must be so before the alert fires."""

    def kept(self) -> dict[str, object]:
        return {
            self.kind: self.subject or True,
            **({self.side: self.limit} if self.side else {}),
            **({"for": self.held} if self.held != DEFAULT_FOR else {}),
        }


@dataclass(frozen=True, slots=True)
class Gate:
    """What a new version must show against the champion: gain on the newest slice, and no more loss on the old part."""

    metric: str
    minimum_gain: float = 0.0
    maximum_loss: float = DEFAULT_MAXIMUM_LOSS

    def kept(self) -> dict[str, object]:
        return {
            "metric": self.metric,
            **({"minimum_gain": self.minimum_gain} if self.minimum_gain else {}),
            **({"maximum_loss": self.maximum_loss} if self.maximum_loss != DEFAULT_MAXIMUM_LOSS else {}),
        }


@dataclass(frozen=True, slots=True)
class Retraining:
    """``flow``: file and function on the control host, from which the deployment was made."""

    flow: str = ""
    schedule: Schedule | None = None
    on: tuple[Trigger, ...] = ()
    action: str = "retrain"
    cooldown: str = DEFAULT_COOLDOWN
    gate: Gate | None = None
    promotion: str = "auto"

    def kept(self) -> dict[str, object]:
        """What the registry keeps of it."""
        return {
            **({"schedule": self.schedule.kept()} if self.schedule else {}),
            **({"on": [trigger.kept() for trigger in self.on]} if self.on else {}),
            **({"action": self.action} if self.action != "retrain" else {}),
            **({"cooldown": self.cooldown} if self.cooldown != DEFAULT_COOLDOWN else {}),
            **({"gate": self.gate.kept()} if self.gate else {}),
            **({"promotion": self.promotion} if self.promotion != "auto" else {}),
        }


def seconds(time: str) -> int:
    """Seconds of a time such as 2m. Raises ValueError."""
    if time[-1:] not in _UNITS or not time[:-1].isdigit():
        raise ValueError(f"{time!r} {_TIME_RULE}")
    return int(time[:-1]) * _UNITS[time[-1]]


def deployment_name(model: str) -> str:
    """The pipeline server's deployment that retrains the model."""
    return f"retrain-{model}"


def read_retraining(node: Node, drift: Drift | None, *, kept: bool) -> Retraining | None:
    if not node.given or not node.is_mapping():
        return None
    node = _with_on(node)
    action = node["action"].choice(ACTIONS, "retrain")
    runs = action != "notify"
    if runs and not kept:
        node["flow"].required("name the flow that retrains it, such as flows.py:retrain")
    retraining = Retraining(
        flow="" if kept else node["flow"].text(pattern=_FLOW_PATTERN, rule="is no flow, such as flows.py:retrain"),
        schedule=_read_schedule(node["schedule"]),
        on=tuple(trigger for item in node["on"].items() if (trigger := _read_trigger(item, drift))),
        action=action,
        cooldown=node["cooldown"].text(DEFAULT_COOLDOWN, pattern=_TIME_PATTERN, rule=_TIME_RULE),
        gate=_read_gate(node["gate"]),
        promotion=node["promotion"].choice(PROMOTIONS, "auto"),
    )
    if runs and retraining.promotion == "auto" and not node["gate"].given:
        node["gate"].problem("is missing; name the metric that a new version is judged by, or set promotion to manual")
    if not runs and retraining.schedule:
        node["schedule"].problem("starts runs, and action is notify; take one of them away")
    if not node["on"].given and not node["schedule"].given:
        node.problem("has neither on nor schedule; say what sets it off")
    node.close()
    return retraining


def _with_on(node: Node) -> Node:
    """YAML 1.1 reads the key ``on`` as true."""
    if not isinstance(node.value, Mapping) or True not in node.value or "on" in node.value:
        return node
    return Node({"on" if key is True else key: value for key, value in node.value.items()}, node.path, node.problems)


def _read_schedule(node: Node) -> Schedule | None:
    if not node.given or not node.is_mapping():
        return None
    given = [key for key in ("cron", "interval") if node[key].given]
    if len(given) != 1:
        node.problem("needs exactly one of cron and interval" + (", and has both" if given else ""))
    schedule = Schedule(
        cron=node["cron"].text(pattern=_CRON_PATTERN, rule="is no cron line of five fields, such as '0 3 * * 0'"),
        timezone=node["timezone"].text(pattern=_ZONE_PATTERN, rule="is no time zone, such as Europe/Berlin"),
        interval=node["interval"].text(pattern=_TIME_PATTERN.replace("(?:0|", "(?:"), rule=_TIME_RULE),
    )
    if schedule.timezone and schedule.interval:
        node["timezone"].problem("goes with cron")
    node.close()
    return schedule


def _read_trigger(node: Node, drift: Drift | None) -> Trigger | None:
    if not node.is_mapping():
        return None
    given = [key for key in KINDS if node[key].given]
    if len(given) != 1:
        node.problem(f"needs exactly one of {', '.join(KINDS)}" + (f", and has {' and '.join(given)}" if given else ""))
        return None
    kind = given[0]
    subject = _read_subject(node, kind, drift)
    side, limit = _read_limit(node, kind)
    held = node["for"].text(DEFAULT_FOR, pattern=_TIME_PATTERN, rule=_TIME_RULE)
    node.close()
    return Trigger(kind, subject, side, limit, held)


def _read_subject(node: Node, kind: str, drift: Drift | None) -> str:
    value = node[kind]
    if kind == "promql":
        return value.text(pattern=r"\s*\S[\s\S]*", rule="is no PromQL expression")
    if kind == "drift":
        if value.value is not True:
            value.problem("must be true")
        elif drift is None:
            value.problem("nothing watches the model; declare drift as well")
        return ""
    metric = value.text(pattern=_METRIC_PATTERN, rule="is no measure's name, such as f1")
    if drift is None or not (drift.labels or metric.startswith("estimated_")):
        value.problem("performance is measured from labels; declare drift with labels: true")
    return metric


def _read_limit(node: Node, kind: str) -> tuple[str, float]:
    given = [side for side in SIDES if node[side].given]
    if kind == "drift":
        for side in given:
            node[side].problem("drift has the detectors' own thresholds; take it away")
        return "", 0.0
    if len(given) != 1:
        node.problem("needs exactly one of above and below" + (", and has both" if given else ""))
        return "", 0.0
    return given[0], node[given[0]].number(0.0, **_ANY_NUMBER)


def _read_gate(node: Node) -> Gate | None:
    if not node.given or not node.is_mapping():
        return None
    metric = ""
    if node["metric"].required("name the metric that versions are compared by, such as f1"):
        metric = node["metric"].text(pattern=_METRIC_PATTERN, rule="is no metric's name, such as f1")
    gate = Gate(
        metric=metric,
        minimum_gain=node["minimum_gain"].number(0.0, **_ANY_NUMBER),
        maximum_loss=node["maximum_loss"].number(DEFAULT_MAXIMUM_LOSS, low=0.0, high=1e15),
    )
    node.close()
    return gate
