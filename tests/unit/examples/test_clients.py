# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What asks the served examples: rows by day and at dusk, their labels, and what the page shows of them."""

from __future__ import annotations

import csv
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from asking import drawn, main, send
from platform_client import Gateway, Model, Prometheus, Reading, Refused
from recorded_platform import CLASSES, DOMAIN, PASSWORD, READINGS, RecordedPlatform

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
NAMES = [
    *("region-centroid-col", "region-centroid-row", "short-line-density-5", "short-line-density-2", "vedge-mean"),
    *("vegde-sd", "hedge-mean", "hedge-sd", "intensity-mean", "rawred-mean", "rawblue-mean", "rawgreen-mean"),
    *("exred-mean", "exblue-mean", "exgreen-mean", "value-mean", "saturation-mean", "hue-mean"),
]
SEGMENT = dict.fromkeys(NAMES, 1.0) | {"intensity-mean": 30.0, "exred-mean": -20.0, "hue-mean": -2.0}


def module(example: str, name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A script of an example, as its own process would import it."""
    monkeypatch.syspath_prepend(str(EXAMPLES / example))
    sys.modules.pop("traffic", None)
    spec = importlib.util.spec_from_file_location(f"{example}_{name}", EXAMPLES / example / f"{name}.py")
    assert spec and spec.loader
    made = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, made)
    spec.loader.exec_module(made)
    return made


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A test set of two segments."""
    file = tmp_path / "test.csv"
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [*NAMES, "category"])
        writer.writeheader()
        writer.writerows([SEGMENT | {"category": "sky"}, SEGMENT | {"category": "path", "hue-mean": 1.5}])
    return file


@pytest.fixture
def model(platform: RecordedPlatform) -> Model:
    return Model(Gateway(platform.url, "127.0.0.1"), "mlops", "landcover")


def test_a_prediction_has_chances_by_name_and_says_which_version_made_it(model: Model) -> None:
    prediction = model.predict(SEGMENT)
    assert list(prediction.chances) == CLASSES and prediction.answer == "sky"
    assert (prediction.version, prediction.id) == ("3", "id-1")


def test_what_the_model_refuses_is_told(model: Model, platform: RecordedPlatform) -> None:
    with pytest.raises(Refused, match=r"HTTP 400 .*the model takes 18 columns"):
        model.predict({"hue-mean": 1.0})
    assert model.predict(SEGMENT).answer == "sky", "the connection is still good"
    with pytest.raises(Refused, match="HTTP 404"):
        Model(Gateway(platform.url, "127.0.0.1"), "mlops", "other").predict(SEGMENT)


def test_rows_are_sent_with_what_they_really_were(
    model: Model, platform: RecordedPlatform, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = module("landcover", "traffic", monkeypatch).EXAMPLE
    answers = send(model, drawn(example, rows, 20, drifted=False, seed=0), labels=True)
    assert answers == {"sky": 20}
    assert [told["response"]["meta"]["puid"] for told in platform.told] == [f"id-{place + 1}" for place in range(20)]
    assert {told["truth"]["data"]["ndarray"][0] for told in platform.told} == {"sky", "path"}
    for asked, told in zip(platform.asked, platform.told, strict=True):
        row = dict(zip(asked["data"]["names"], asked["data"]["ndarray"][0], strict=True))
        assert list(row) == NAMES
        assert told["truth"]["data"]["ndarray"] == ["sky" if row["hue-mean"] == -2 else "path"]


def test_dusk_takes_light_and_leaves_hue(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = module("landcover", "traffic", monkeypatch).EXAMPLE
    day, dusk = (list(drawn(example, rows, 5, drifted=drifted, seed=1)) for drifted in (False, True))
    assert [label for _, label in day] == [label for _, label in dusk]
    for (before, _), (after, _) in zip(day, dusk, strict=True):
        assert after["intensity-mean"] == pytest.approx(12) and after["exred-mean"] == pytest.approx(-8)
        assert after["hue-mean"] == before["hue-mean"] and list(after) == list(before)


def test_phishing_tells_numbers_and_has_its_own_drift(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    example = module("phishing", "traffic", monkeypatch).EXAMPLE
    (tmp_path / "test.csv").write_text("ip_in_url,age_of_domain,ssl,is_phishing\n0.0,1.0,0.5,1\n")
    ((row, label),) = drawn(example, tmp_path / "test.csv", 1, drifted=True, seed=0)
    assert (row, label) == ({"ip_in_url": 1.0, "age_of_domain": 0.0, "ssl": 0.5}, 1.0)


def test_the_command_says_what_was_answered(
    platform: RecordedPlatform, rows: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example = module("landcover", "traffic", monkeypatch).EXAMPLE
    options = [f"--url={platform.url}", "--address=127.0.0.1", f"--data={rows}", "--rows=7"]
    monkeypatch.setattr(sys, "argv", ["traffic.py", *options, "--drifted"])
    assert main(example, "") == 0 and capsys.readouterr().out == "7 segments: 7 cement\n"
    monkeypatch.setattr(sys, "argv", ["traffic.py", *options, "--model=other"])
    assert main(example, "") == 1 and "HTTP 404" in capsys.readouterr().err


# Drift


def test_drift_is_read_by_who_has_a_login(platform: RecordedPlatform) -> None:
    gateway = Gateway(f"http://prometheus.{DOMAIN}:{platform.port}", "127.0.0.1")
    readings = Prometheus(gateway, "admin", PASSWORD).drift("landcover")
    assert [(one.detector, one.feature, one.ratio, one.drifting) for one in readings] == [
        ("ewma", "value-mean", 2.75, True),
        ("rff", "", 0.9, False),
        ("ewma", "hue-mean", 0.31, False),
    ]
    with pytest.raises(Refused, match="HTTP 401"):
        Prometheus(gateway, "admin", "another").drift("landcover")
    platform.readings = {key: [] for key in READINGS}
    assert Prometheus(gateway, "admin", PASSWORD).drift("landcover") == []


def test_the_page_says_it_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    page = module("landcover", "page", monkeypatch)
    calm, drifting = Reading("2", "ewma", "hue-mean", 0.4, False), Reading("3", "ewma", "value-mean", 2.0, True)
    assert page.state([]) == "Nothing watches the model."
    assert page.state([calm]) == "No drift: at most 0.40 of the threshold."
    assert page.state([drifting, calm]) == "Drift at version 3, of value-mean."
    assert page.state([Reading("3", "rff", "", 1.2, True)]) == "Drift at version 3."
    shown = page.table([drifting, *[calm] * 20])
    assert len(shown) == page.SHOWN and shown[0]["feature"] == "value-mean" and shown[0]["drift"]


def test_the_pages_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = module("landcover", "page", monkeypatch)
    usual = page.Settings.read({})
    assert (usual.url, usual.prometheus) == ("http://localhost", "http://prometheus.localhost")
    assert (usual.model, usual.user, usual.password) == ("landcover", "admin", "")
    (tmp_path / "password").write_text("from-a-file\n")
    given = {"MLOPS_URL": "https://ml.example.org:8443", "PROMETHEUS_PASSWORD_FILE": str(tmp_path / "password")}
    settings = page.Settings.read(given)
    assert settings.prometheus == "https://prometheus.ml.example.org:8443" and settings.password == "from-a-file"
    assert page.Settings.read({"PROMETHEUS_PASSWORD": "as-it-is"}).password == "as-it-is"
    with pytest.raises(FileNotFoundError):
        page.Settings.read({"PROMETHEUS_PASSWORD_FILE": str(tmp_path / "nowhere")})
