# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A page that asks the served model what a piece of an image is, and shows whether it has drifted.

    streamlit run page.py

MLOPS_URL, MLOPS_ADDRESS, MLOPS_CA, MLOPS_NAMESPACE, MLOPS_MODEL: as the options of traffic.py. The drift is read from
Prometheus, by PROMETHEUS_USER and PROMETHEUS_PASSWORD, or PROMETHEUS_PASSWORD_FILE. Rows are those of build/test.csv
(MLOPS_DATA).
"""

from __future__ import annotations

import os
import sys
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "shared")]

from platform_client import Gateway, Model, Prometheus, Reading, Refused
from traffic import EXAMPLE, in_light

SHOWN = 8
"""Readings of detectors at most."""


@dataclass(frozen=True)
class Settings:
    """Where the platform is, and who asks Prometheus."""

    url: str
    prometheus: str
    address: str
    ca: str
    namespace: str
    model: str
    data: Path
    user: str
    password: str

    @classmethod
    def read(cls, env: Mapping[str, str] = os.environ) -> Settings:
        """Raises OSError where the password's file can't be read."""
        url = env.get("MLOPS_URL", "http://localhost")
        file = env.get("PROMETHEUS_PASSWORD_FILE", "")
        parts = urllib.parse.urlsplit(url)
        return cls(
            url=url,
            prometheus=parts._replace(netloc=f"prometheus.{parts.netloc}").geturl(),
            address=env.get("MLOPS_ADDRESS", ""),
            ca=env.get("MLOPS_CA", ""),
            namespace=env.get("MLOPS_NAMESPACE", "mlops"),
            model=env.get("MLOPS_MODEL", EXAMPLE.name),
            data=Path(env.get("MLOPS_DATA", HERE / "build/test.csv")),
            user=env.get("PROMETHEUS_USER", "admin"),
            password=Path(file).read_text().strip() if file else env.get("PROMETHEUS_PASSWORD", ""),
        )


def state(readings: list[Reading]) -> str:
    """In a line."""
    if not readings:
        return "Nothing watches the model."
    drifting = [reading for reading in readings if reading.drifting]
    if not drifting:
        return f"No drift: at most {max(reading.ratio for reading in readings):.2f} of the threshold."
    features = sorted({reading.feature for reading in drifting if reading.feature})
    versions = ", ".join(sorted({reading.version for reading in drifting}))
    return f"Drift at version {versions}" + (f", of {', '.join(features)}." if features else ".")


def table(readings: list[Reading]) -> list[dict[str, Any]]:
    """The readings that are furthest from usual."""
    return [
        {
            "version": reading.version,
            "detector": reading.detector,
            "feature": reading.feature or "all together",
            "statistic / threshold": round(reading.ratio, 3),
            "drift": reading.drifting,
        }
        for reading in readings[:SHOWN]
    ]


def main() -> None:
    import pandas as pd
    import streamlit as st

    settings = Settings.read()
    st.set_page_config(page_title="Land cover", layout="wide")
    st.title("What is this piece of an image?")
    segments = pd.read_csv(settings.data)
    left, right = st.columns(2)
    with left:
        names = sorted(segments[EXAMPLE.target].unique())
        truth = st.selectbox("What it really is", names)
        known = segments[segments[EXAMPLE.target] == truth].drop(columns=EXAMPLE.target)
        number = st.number_input("Which of them", 1, len(known), 1)
        light = st.slider("Light", 0.2, 1.0, 1.0, 0.1, help="A dark one is what the model was not trained on.")
        segment = in_light(known.iloc[int(number) - 1].to_dict(), light)
        rows = pd.DataFrame({"value": segment}).rename_axis("number")
        edited = st.data_editor(rows, width="stretch", key=f"{truth} {number} {light}")
    with right:
        try:
            asked = Model(Gateway(settings.url, settings.address, settings.ca), settings.namespace, settings.model)
            prediction = asked.predict({str(name): float(value) for name, value in edited["value"].items()})
        except (Refused, OSError) as error:
            st.error(f"{settings.model} doesn't answer: {error}")
        else:
            st.metric(f"Version {prediction.version or 'unknown'} says", prediction.answer)
            st.bar_chart(pd.Series(dict(prediction.chances), name="probability"), horizontal=True)
        st.subheader("Drift")
        if not settings.password:
            st.info("Set PROMETHEUS_PASSWORD or PROMETHEUS_PASSWORD_FILE (README.md) to see it.")
            return
        gateway = Gateway(settings.prometheus, settings.address, settings.ca)
        try:
            readings = Prometheus(gateway, settings.user, settings.password).drift(settings.model)
        except (Refused, OSError) as error:
            st.error(f"Prometheus doesn't answer: {error}")
            return
        (st.warning if any(reading.drifting for reading in readings) else st.success)(state(readings))
        st.dataframe(pd.DataFrame(table(readings)), hide_index=True)


if __name__ == "__main__":
    main()
