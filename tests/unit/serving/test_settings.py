# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the environment and the command line say."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from mlops_runtime.serving.settings import SettingsError, available_cores, parse_parameters, read_settings


def test_defaults_are_those_of_the_wrapper() -> None:
    settings = read_settings([], {})
    assert (settings.http_port, settings.grpc_port, settings.metrics_port) == (9000, 5000, 6000)
    assert settings.interface == "mlops_runtime.serving.MLflowModel"
    assert settings.workers == available_cores()


def test_command_line_of_the_wrapper() -> None:
    line = "my.Class --service-type ROUTER --http-port 1 --grpc-port 2 --metrics-port 3 --workers 4 --debug"
    settings = read_settings(line.split(), {"MODEL_NAME": "Other", "PREDICTIVE_UNIT_HTTP_SERVICE_PORT": "8"})
    assert (settings.interface, settings.http_port, settings.grpc_port, settings.metrics_port) == ("my.Class", 1, 2, 3)
    assert (settings.workers, settings.log_level) == (4, "DEBUG")


@pytest.mark.parametrize(
    ("env", "name", "value"),
    [
        ({"PREDICTIVE_UNIT_SERVICE_PORT": "9001"}, "http_port", 9001),
        ({"PREDICTIVE_UNIT_HTTP_SERVICE_PORT": "9002", "PREDICTIVE_UNIT_SERVICE_PORT": "9001"}, "http_port", 9002),
        ({"PREDICTIVE_UNIT_METRICS_ENDPOINT": "/prometheus"}, "metrics_path", "/prometheus"),
        ({"GUNICORN_WORKERS": "3"}, "workers", 3),
        ({"GUNICORN_WORKERS": "3", "MLOPS_WORKERS": "5"}, "workers", 5),
        ({"GUNICORN_THREADS": "2"}, "threads", 2),
        ({"GUNICORN_THREADS": "2", "FLASK_SINGLE_THREADED": "1"}, "threads", 1),
        ({"GRPC_WORKERS": "0"}, "grpc", False),
        ({"SELDON_LOG_LEVEL": "warning"}, "log_level", "WARNING"),
        ({"SELDON_DEBUG": "1"}, "log_level", "DEBUG"),
        ({"INCLUDE_METRICS_IN_CLIENT_RESPONSE": "false"}, "include_metrics", False),
        ({"PAYLOAD_PASSTHROUGH": "true"}, "passthrough", True),
        ({"MLOPS_BATCH_MAX_ROWS": "64"}, "batch_rows", 64),
        ({"MLOPS_BATCH_WAIT_MS": "2.5"}, "batch_wait_seconds", 0.0025),
    ],
)
def test_environment(env: dict[str, str], name: str, value: object) -> None:
    assert getattr(read_settings([], env), name) == value


@pytest.mark.parametrize(
    "env",
    [
        {"MLOPS_WORKERS": "many"},
        {"MLOPS_QUEUE_SECONDS": "-1"},
        {"MLOPS_DRAIN_SECONDS": "nan"},
        {"SELDON_LOG_LEVEL": "LOUD"},
        {"MLOPS_MODEL_THREAD": "perhaps"},
    ],
)
def test_what_cannot_be_used_is_named(env: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=next(iter(env))):
        read_settings([], env)


def test_what_is_not_heeded_is_said(caplog: pytest.LogCaptureFixture) -> None:
    env = {"PERSISTENCE": "1", "TRACING": "1", "GRPC_THREADS": "4", "FLASK_JSON_SORT_KEYS": "1"}
    with caplog.at_level(logging.WARNING):
        read_settings(["C", "--pidfile", "x"], env)
    said = caplog.text
    assert all(word in said for word in ("Persistence", "TRACING", "GRPC_THREADS", "pidfile", "FLASK_JSON_SORT_KEYS"))


def test_parameters_have_their_types() -> None:
    listed = '[{"name":"i","value":"3","type":"INT"},{"name":"f","value":"0.5","type":"FLOAT"},'
    listed += '{"name":"s","value":"7","type":"STRING"},{"name":"b","value":"False","type":"BOOL"}]'
    assert parse_parameters(listed) == {"i": 3, "f": 0.5, "s": "7", "b": False}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("{}", "not a list"),
        ('[{"value": "1"}]', "has no name"),
        ('[{"name":"x","value":"y","type":"INT"}]', "x with value y can't be parsed as a INT"),
        ('[{"name":"x","value":"perhaps","type":"BOOL"}]', "can't be parsed as a BOOL"),
        ('[{"name":"x","value":"y","type":"LIST"}]', "valid are INT"),
    ],
)
def test_bad_parameters(text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        parse_parameters(text)


@pytest.mark.parametrize(
    ("limit", "cores"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None), ("x", None)]
)
def test_cores_within_the_limit(tmp_path: Path, limit: str, cores: int | None) -> None:
    (tmp_path / "cpu.max").write_text(limit)
    seen = available_cores(tmp_path / "nothing")
    assert available_cores(tmp_path) == (cores or seen)


def test_cores_within_the_limit_of_the_older_interface(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("10000\n")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
    assert available_cores(tmp_path) == 1


def test_message_size_from_annotations(tmp_path: Path) -> None:
    (tmp_path / "annotations").write_text('seldon.io/grpc-max-message-size="123"\nnonsense\n')
    assert read_settings([], {}, tmp_path / "annotations").max_body == 123
