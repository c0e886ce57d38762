# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The gate: a challenger against the champion on one frozen holdout.

It has to gain on the newest slice what the declaration asks, and may lose on the old part no more than it allows.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from _model_spec.retraining import Gate
from sklearn.exceptions import UndefinedMetricWarning

from mlops_runtime.pipelines.answers import Predictor
from mlops_runtime.pipelines.holdout import Data
from mlops_runtime.pipelines.metrics import Metric

FILE: Final = "gate.json"
TAG: Final = "mlops.gate"
REASONS: Final = "mlops.gate.reasons"
WON, LOST = "won", "lost"
ROUNDING: Final = 1e-12
"""What sums of floats may be off by: 0.9 - 0.8 is a gain of 0.1."""
Figures = Mapping[str, float]
"""Of `old` and `new`, the holdout's parts."""


@dataclass(frozen=True)
class Verdict:
    """Who won, why, and by which figures. A figure that isn't defined is NaN."""

    won: bool
    metric: str
    champion: Figures
    challenger: Figures
    gain: float
    """On the newest slice; below 0 where the challenger is worse."""
    loss: float
    """On the old part; below 0 where the challenger is better."""
    minimum_gain: float
    maximum_loss: float
    reasons: tuple[str, ...]
    about: Mapping[str, Any]
    """Whom it is about: versions, rows and the holdout's hash."""

    @property
    def outcome(self) -> str:
        return WON if self.won else LOST

    def to_json(self) -> str:
        """As kept in gate.json; null for what isn't defined."""
        document = {
            "won": self.won,
            "metric": self.metric,
            "champion": _plain(self.champion),
            "challenger": _plain(self.challenger),
            "gain": _number(self.gain),
            "loss": _number(self.loss),
            "minimum_gain": self.minimum_gain,
            "maximum_loss": self.maximum_loss,
            "reasons": list(self.reasons),
            **self.about,
        }
        return json.dumps(document, indent=2, allow_nan=False) + "\n"

    def figures(self) -> dict[str, float]:
        """As MLflow's metrics: what is defined."""
        found = {f"gate_{who}_{part}": value for who, figures in self._sides() for part, value in figures.items()}
        found |= {"gate_gain": self.gain, "gate_loss": self.loss}
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def _sides(self) -> tuple[tuple[str, Figures], ...]:
        return (("champion", self.champion), ("challenger", self.challenger))


def decide(
    gate: Gate,
    metric: Metric,
    champion: Figures,
    challenger: Figures,
    problems: tuple[str, ...] = (),
    about: Mapping[str, Any] | None = None,
) -> Verdict:
    """The rule alone. `problems`: why figures aren't defined."""
    gain = metric.better(challenger["new"], champion["new"])
    loss = -metric.better(challenger["old"], champion["old"])
    defined = all(math.isfinite(value) for value in (*champion.values(), *challenger.values()))
    gains = defined and gain >= gate.minimum_gain - ROUNDING
    holds = defined and loss <= gate.maximum_loss + ROUNDING
    reasons = [f"{metric.name} isn't defined: {problem}" for problem in problems]
    if not defined and not problems:
        reasons.append(f"{metric.name} isn't defined on all of the holdout")
    if defined:
        new = f"{metric.name} {challenger['new']:.6g} on the newest slice, the champion has {champion['new']:.6g}"
        old = f"{metric.name} {challenger['old']:.6g} on the old part, the champion has {champion['old']:.6g}"
        reasons.append(f"{new}: a gain of {gain:.6g}, {_bound(gains, gate.minimum_gain, 'at least')}")
        reasons.append(f"{old}: a loss of {loss:.6g}, {_bound(holds, gate.maximum_loss, 'at most')}")
    return Verdict(
        won=gains and holds,
        metric=metric.name,
        champion=dict(champion),
        challenger=dict(challenger),
        gain=gain,
        loss=loss,
        minimum_gain=gate.minimum_gain,
        maximum_loss=gate.maximum_loss,
        reasons=tuple(reasons),
        about=dict(about or {}),
    )


def judge(
    gate: Gate,
    metric: Metric,
    champion: Predictor,
    challenger: Predictor,
    data: Data,
    about: Mapping[str, Any] | None = None,
) -> Verdict:
    """Both on both parts of the same holdout. Raises UnfitRows where a model doesn't take its rows."""
    problems: list[str] = []
    figures: dict[str, dict[str, float]] = {}
    with warnings.catch_warnings():
        # Without a row of the class that it is about, scikit-learn's f1 or recall is 0 by decree.
        warnings.filterwarnings("error", message=".*no true", category=UndefinedMetricWarning)
        for who, predictor in (("champion", champion), ("challenger", challenger)):
            figures[who] = {}
            for part, frame in (("old", data.old), ("new", data.new)):
                answers = predictor(frame[data.features])
                value, problem = metric.of(frame[data.target].to_numpy(), answers)
                figures[who][part] = value
                if problem:
                    problems.append(f"of the {who} on the {part} part, {problem}")
    rows = {"old": len(data.old), "new": len(data.new)}
    told = {"holdout": data.sha256, "rows": rows, **(about or {})}
    return decide(gate, metric, figures["champion"], figures["challenger"], tuple(problems), told)


def _bound(met: bool, limit: float, side: str) -> str:
    return f"{'' if met else 'and not '}{side} {limit:g}"


def _plain(figures: Figures) -> dict[str, float | None]:
    return {name: _number(value) for name, value in figures.items()}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
