# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the model server is told: the command line and environment of Seldon's wrapper, and a few of its own."""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlops_runtime.contracts import environment
from mlops_runtime.contracts.broker import BrokerSettingsError, client_settings

log = logging.getLogger(__name__)

DEFAULT_CLASS = "mlops_runtime.serving.MLflowModel"
ANNOTATIONS = Path("/etc/podinfo/annotations")
_MESSAGE_SIZE = "seldon.io/grpc-max-message-size"
_TYPES: dict[str, Any] = {"INT": int, "FLOAT": float, "DOUBLE": float, "STRING": str}
_TRUE, _FALSE = {"1", "true", "t", "yes", "y", "on"}, {"0", "false", "f", "no", "n", "off"}


class SettingsError(ValueError):
    """A setting that can't be used: its name, and what is wrong with it."""


@dataclass(frozen=True)
class Settings:
    interface: str = DEFAULT_CLASS
    parameters: dict[str, Any] = field(default_factory=dict)
    http_port: int = 9000
    grpc_port: int = 5000
    grpc: bool = True
    metrics_port: int = 6000
    metrics_path: str = "/metrics"
    workers: int = 1
    threads: int = 1
    thread: str = "auto"
    queue: int = 256
    queue_seconds: float = 30.0
    batch_rows: int = 1024
    batch_wait_seconds: float = 0.0
    max_body: int = 100 * 2**20
    drain_seconds: float = 3.0
    grace_seconds: float = 20.0
    keepalive: int = 75
    max_requests: int = 0
    max_requests_jitter: int = 0
    access_log: bool = False
    log_level: str = "INFO"
    passthrough: bool = False
    include_metrics: bool = True
    records: str = ""
    records_sample: float = 1.0
    records_queue: int = 100_000
    broker: dict[str, Any] = field(default_factory=dict, repr=False)


def available_cores(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Whole cores that this container may use: its limit, rounded up, and no more than it sees."""
    seen = len(os.sched_getaffinity(0))
    try:
        if (root / "cpu.max").exists():
            quota, period = (root / "cpu.max").read_text().split()
        else:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
        if quota in ("max", "-1"):
            return seen
        return max(1, min(seen, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):
        return seen


def read_settings(
    arguments: Sequence[str], env: Mapping[str, str] = os.environ, annotations: Path = ANNOTATIONS
) -> Settings:
    """Settings from the command line and the environment. Raises SettingsError; says aloud what it doesn't heed."""
    read = _Reader(env)
    options = _parse(arguments, env)
    _say_ignored(options, env)
    port = read.number(environment.HTTP_PORT, read.number(environment.SERVICE_PORT, 9000))
    level = (env.get(environment.LOG_LEVEL) or options.log_level).upper()
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
        raise SettingsError(f"{environment.LOG_LEVEL}: {level!r} is none of DEBUG, INFO, WARNING, ERROR, CRITICAL")
    thread = env.get(environment.MODEL_THREAD, "auto")
    if thread not in ("auto", "always", "never"):
        raise SettingsError(f"{environment.MODEL_THREAD}: {thread!r} is none of auto, always, never")
    single = read.flag(environment.WRAPPER_SINGLE_THREADED, False) or bool(options.single_threaded)
    workers = options.workers or read.number(
        environment.WORKERS, read.number(environment.WRAPPER_WORKERS, 0) or available_cores()
    )
    max_body = read.number(environment.MAX_BODY, 100 * 2**20)
    records = env.get(environment.RECORDS, "")
    return Settings(
        interface=options.interface_name or env.get(environment.MODEL_NAME) or DEFAULT_CLASS,
        parameters=parse_parameters(options.parameters),
        http_port=options.http_port if options.http_port is not None else port,
        grpc_port=options.grpc_port if options.grpc_port is not None else read.number(environment.GRPC_PORT, 5000),
        grpc=(options.grpc_workers or read.number(environment.WRAPPER_GRPC_WORKERS, 1)) > 0
        if options.grpc_workers is None
        else options.grpc_workers > 0,
        metrics_port=options.metrics_port
        if options.metrics_port is not None
        else read.number(environment.METRICS_PORT, 6000),
        metrics_path=env.get(environment.METRICS_ENDPOINT, "/metrics"),
        workers=max(1, workers),
        threads=1 if single else max(1, options.threads or read.number(environment.WRAPPER_THREADS, 1)),
        thread=thread,
        queue=max(1, read.number(environment.QUEUE, 256)),
        queue_seconds=read.seconds(environment.QUEUE_SECONDS, 30.0),
        batch_rows=max(1, read.number(environment.BATCH_MAX_ROWS, 1024)),
        batch_wait_seconds=read.seconds(environment.BATCH_WAIT_MS, 0.0) / 1000,
        max_body=int(_annotations(annotations).get(_MESSAGE_SIZE, max_body)),
        drain_seconds=read.seconds(environment.DRAIN_SECONDS, 3.0),
        grace_seconds=read.seconds(environment.GRACE_SECONDS, 20.0),
        keepalive=options.keepalive or read.number(environment.WRAPPER_KEEPALIVE, 75),
        max_requests=options.max_requests or read.number(environment.WRAPPER_MAX_REQUESTS, 0),
        max_requests_jitter=options.max_requests_jitter or read.number(environment.WRAPPER_MAX_REQUESTS_JITTER, 0),
        access_log=bool(options.access_log) or read.flag(environment.WRAPPER_ACCESS_LOG, False),
        log_level="DEBUG" if options.debug or read.flag(environment.DEBUG, False) else level,
        passthrough=read.flag(environment.PAYLOAD_PASSTHROUGH, False),
        include_metrics=env.get(environment.INCLUDE_METRICS, "true").lower() == "true",
        records=records,
        records_sample=read.share(environment.RECORDS_SAMPLE, 1.0),
        records_queue=max(1, read.number(environment.RECORDS_QUEUE, 100_000)),
        broker=_broker(env) if records else {},
    )


def parse_parameters(text: str) -> dict[str, Any]:
    """The class's arguments: a JSON list of `{"name": ..., "value": ..., "type": INT|FLOAT|DOUBLE|STRING|BOOL}`."""
    try:
        listed = json.loads(text or "[]")
    except ValueError as error:
        raise SettingsError(f"{environment.PARAMETERS}: not JSON: {error}") from error
    if not isinstance(listed, list):
        raise SettingsError(f"{environment.PARAMETERS}: not a list")
    parameters: dict[str, Any] = {}
    for item in listed:
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise SettingsError(f"{environment.PARAMETERS}: {item!r} has no name")
        name, value, kind = item["name"], item.get("value"), item.get("type")
        if kind == "BOOL" and str(value).lower() in _TRUE | _FALSE:
            parameters[name] = str(value).lower() in _TRUE
        elif kind in _TYPES:
            try:
                parameters[name] = _TYPES[kind](value)
            except (TypeError, ValueError) as error:
                raise SettingsError(
                    f"Bad model parameter: {name} with value {value} can't be parsed as a {kind}"
                ) from error
        elif kind == "BOOL":
            raise SettingsError(f"Bad model parameter: {name} with value {value} can't be parsed as a BOOL")
        else:
            raise SettingsError(f"Bad model parameter type: {kind} valid are INT, FLOAT, DOUBLE, STRING, BOOL")
    return parameters


def _parse(arguments: Sequence[str], env: Mapping[str, str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mlops_runtime.serving", description="Serve a model by Seldon's v1 protocol.")
    parser.add_argument("interface_name", nargs="?", help="the model's class: Class, or package.module.Class")
    types = ["MODEL", "ROUTER", "TRANSFORMER", "COMBINER", "OUTLIER_DETECTOR"]
    parser.add_argument("--service-type", choices=types, default=env.get(environment.SERVICE_TYPE) or "MODEL")
    parser.add_argument("--persistence", nargs="?", default=0, const=1, type=int)
    parser.add_argument("--parameters", default=env.get(environment.PARAMETERS, "[]"))
    parser.add_argument("--log-level", choices=["DEBUG", "INFO", "WARNING", "ERROR"], default="INFO")
    parser.add_argument("--debug", nargs="?", type=bool, default=False, const=True)
    parser.add_argument("--tracing", nargs="?", default=0, const=1, type=int)
    numbers = ("workers", "threads", "max-requests", "max-requests-jitter", "keepalive", "single-threaded", "http-port")
    for name in (*numbers, "grpc-port", "metrics-port", "grpc-threads", "grpc-workers"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--pidfile")
    parser.add_argument("--access-log", nargs="?", type=bool, default=False, const=True)
    return parser.parse_args(arguments)


def _say_ignored(options: argparse.Namespace, env: Mapping[str, str]) -> None:
    if options.persistence or env.get(environment.PERSISTENCE, "0") not in ("", "0"):
        log.error("Persistence: ignored, persistence is deprecated")
    if options.tracing or env.get(environment.TRACING, "0") not in ("", "0"):
        log.warning("Tracing to Jaeger is not supported and ignored (%s)", environment.TRACING)
    if options.grpc_threads or env.get(environment.WRAPPER_GRPC_THREADS):
        log.warning("%s is ignored: workers answer REST and gRPC alike", environment.WRAPPER_GRPC_THREADS)
    if options.pidfile:
        log.warning("--pidfile is ignored")
    if flask := sorted(
        name for name in env if name.startswith("FLASK_") and name != environment.WRAPPER_SINGLE_THREADED
    ):
        log.warning("There is no Flask here; ignored: %s", ", ".join(flask))


def _broker(env: Mapping[str, str]) -> dict[str, Any]:
    try:
        return client_settings(env)
    except BrokerSettingsError as error:
        raise SettingsError(f"{environment.RECORDS} asks for prediction records, and {error}") from error


def _annotations(path: Path) -> dict[str, str]:
    """Kubernetes' annotations of the pod: lines `key="value"`."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {key.strip(): value.strip()[1:-1] for key, value in pairs}


class _Reader:
    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env

    def number(self, name: str, default: int) -> int:
        text = self._env.get(name) or ""
        try:
            return int(text) if text else default
        except ValueError as error:
            raise SettingsError(f"{name}: {text!r} is not a whole number") from error

    def seconds(self, name: str, default: float) -> float:
        text = self._env.get(name) or ""
        try:
            value = float(text) if text else default
        except ValueError as error:
            raise SettingsError(f"{name}: {text!r} is not a number") from error
        if not (math.isfinite(value) and value >= 0):
            raise SettingsError(f"{name}: {text!r} is below 0")
        return value

    def share(self, name: str, default: float) -> float:
        value = self.seconds(name, default)
        if value > 1:
            raise SettingsError(f"{name}: {value:g} is above 1")
        return value

    def flag(self, name: str, default: bool) -> bool:
        text = self._env.get(name)
        return default if text is None else text.lower() in _TRUE
