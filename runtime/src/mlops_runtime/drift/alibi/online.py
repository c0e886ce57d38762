# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The library's online detectors, MMDDriftOnline and LSDDDriftOnline, on PyTorch: one test for each row.

Its constructor does three random things: it chooses kernel centres (LSDD), finds thresholds by bootstrap, and splits
the reference. All three are hooks of its own base class. Here each draws from the reference's seed, and thresholds that
are known are put back instead of found; so a detector that is loaded has the split of the training, and goes on where
it was.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self

import numpy as np

from mlops_runtime.drift.alibi.complete_rows import complete_sample
from mlops_runtime.drift.alibi.library import load, seeded
from mlops_runtime.drift.latch import Latch, expect
from mlops_runtime.drift.offline.parameters import Options
from mlops_runtime.drift.protocol import (
    Alarm,
    Arrays,
    Feature,
    FloatArray,
    Parameters,
    Reading,
    Reference,
    Scalar,
    UnfitReference,
)

DEFAULTS: Final[Mapping[str, Scalar]] = {
    "expected_run_time": 1000,
    "window": 50,
    "reference_rows": 500,
    "bootstraps": 0,
}
LARGEST_CALIBRATION: Final = 2 * 1024**3
"""Bytes that the bootstraps may take at training."""


class OnlineDrift:
    """The statistic is the library's; its threshold that of a full window."""

    kind: ClassVar[str]
    restarts_exactly: ClassVar[bool] = True
    running: ClassVar[tuple[str, ...]]
    """The library's attributes that change with the rows."""

    def __init__(self, fitted: Arrays, parameters: Parameters, features: tuple[Feature, ...]) -> None:
        options = Options(self.kind, parameters, DEFAULTS)
        self._run_time = options.integer("expected_run_time", minimum=10)
        self._window = options.integer("window", minimum=2)
        self._features = features
        self._fitted = fitted
        if fitted["sample"].shape[1] != len(features):
            raise ValueError(f"{self.kind}: the arrays are of other features")
        self._test = self._made(fitted)
        if not np.array_equal(self._split(self._test), fitted["split"]):
            raise ValueError(
                f"{self.kind}: this PyTorch splits the reference otherwise than that of the training: fit it again"
            )
        thresholds = fitted["thresholds"].astype(np.float64)
        self._latch = Latch([""], thresholds[-1:], self._run_time)
        self._rows_seen = 0
        self.rows_skipped = 0

    @classmethod
    def fit(cls, reference: Reference, parameters: Parameters) -> Self:
        options = Options(cls.kind, parameters, DEFAULTS)
        run_time = options.integer("expected_run_time", minimum=10)
        window = options.integer("window", minimum=2)
        bootstraps = options.integer("bootstraps") or 10 * run_time
        if bootstraps < 2 * run_time:
            raise options.wrong(
                "bootstraps", f"at least {2 * run_time}, twice the expected_run_time; 10 times is better"
            )
        kept = complete_sample(cls.kind, reference, options.integer("reference_rows", minimum=100))
        needed = cls._reference_needed(window)
        if len(kept) < needed:
            raise UnfitReference(f"{cls.kind}: {len(kept)} rows for a window of {window}; it needs {needed}")
        size = cls._calibration_bytes(len(kept), window, bootstraps)
        if size > LARGEST_CALIBRATION:
            raise UnfitReference(
                f"{cls.kind}: {bootstraps} bootstraps of {len(kept)} rows would take {size / 1024**3:.1f} GiB. Ask for "
                "a shorter expected_run_time, fewer reference_rows or a shorter window; `rff` does without them"
            )
        fitted: Arrays = {
            "sample": kept.astype(np.float32),
            "seed": np.array([reference.seed], dtype=np.int64),
            "bootstraps": np.array([bootstraps], dtype=np.int64),
        }
        test = cls._constructed(fitted, run_time, window)
        fitted["thresholds"] = np.array(test.thresholds, dtype=np.float64)
        fitted["split"] = cls._split(test)
        fitted |= cls._extra(test)
        return cls(fitted, parameters, reference.features)

    @classmethod
    def load(cls, fitted: Arrays, parameters: Parameters, features: tuple[Feature, ...]) -> Self:
        try:
            return cls(fitted, parameters, features)
        except (KeyError, IndexError) as error:
            raise ValueError(f"{cls.kind}: the arrays aren't what {cls.kind} leaves: {error}") from error

    def _made(self, fitted: Arrays) -> Any:
        return self._constructed(fitted, self._run_time, self._window)

    @classmethod
    def _constructed(cls, fitted: Arrays, run_time: int, window: int) -> Any:
        """The library's detector; its thresholds are found by bootstrap only where `fitted` has none."""
        seed = int(fitted["seed"][0])
        with seeded(seed):
            return cls._class(fitted)(
                fitted["sample"].astype(np.float32),
                ert=float(run_time),
                window_size=window,
                n_bootstraps=int(fitted["bootstraps"][0]),
                device="cpu",
                verbose=False,
            )

    @classmethod
    def _class(cls, fitted: Arrays) -> type[Any]:
        """The library's class with its random hooks held by the seed and the thresholds put back."""
        base: type[Any] = cls._library()
        seed = int(fitted["seed"][0])
        put_back = cls._put_back

        class Repeatable(base):  # type: ignore[misc]
            def _configure_thresholds(self) -> None:
                if "thresholds" in fitted:
                    self.thresholds = fitted["thresholds"].tolist()
                    put_back(self, fitted)
                else:
                    super()._configure_thresholds()

            def _configure_ref_subset(self) -> None:
                # Of its own seed: the bootstraps, which a load leaves out, have drawn from the other.
                with seeded(seed + 1):
                    super()._configure_ref_subset()

        return Repeatable

    @staticmethod
    def _split(test: Any) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        return np.concatenate([test.ref_inds.numpy(), test.init_test_inds.numpy()]).astype(np.int64)

    @classmethod
    @abstractmethod
    def _library(cls) -> type[Any]: ...

    @classmethod
    @abstractmethod
    def _reference_needed(cls, window: int) -> int: ...

    @classmethod
    @abstractmethod
    def _calibration_bytes(cls, rows: int, window: int, bootstraps: int) -> int: ...

    @classmethod
    def _extra(cls, _: Any) -> Arrays:
        """What its bootstraps find besides the thresholds."""
        return {}

    @staticmethod
    def _put_back(test: Any, fitted: Arrays) -> None:
        """What `_extra` kept."""

    def fitted(self) -> Arrays:
        return dict(self._fitted)

    def calibration(self) -> dict[str, Scalar]:
        return {
            "expected_run_time": self._run_time,
            "reference_rows": len(self._fitted["sample"]),
            "bootstraps": int(self._fitted["bootstraps"][0]),
            "threshold": float(self._latch.thresholds[0]),
        }

    def score_one(self, row: FloatArray, time: float) -> list[Alarm]:
        return self.score_many(row[None, :], np.array([time]))

    def score_many(self, rows: FloatArray, times: FloatArray) -> list[Alarm]:  # noqa: ARG002 - it has no clock
        alarms: list[Alarm] = []
        whole = np.isfinite(rows).all(axis=1)
        last = float(self._latch.thresholds[0])
        for row, complete in zip(rows.astype(np.float32), np.atleast_1d(whole), strict=True):
            self._rows_seen += 1
            if not complete:
                self.rows_skipped += 1
                continue
            statistic = self._test.score(row)
            # While the window still holds rows of the reference each row has a threshold of its own: put on one scale.
            scale = last / float(self._test.get_threshold(self._test.t))
            alarms += self._latch.test(self._rows_seen, np.array([statistic * scale]))
        return alarms

    def readings(self) -> list[Reading]:
        return self._latch.readings()

    def state(self) -> Arrays:
        counts = np.array([self._rows_seen, self.rows_skipped, self._test.t], dtype=np.int64)
        return {
            **{f"alibi_{name}": getattr(self._test, name).detach().numpy().copy() for name in self.running},
            **self._latch.state(),
            "row_counts": counts,
        }

    def restore(self, state: Arrays) -> None:
        for name, array in self.state().items():
            expect(state, name, array)
        self._latch.restore(state)
        self._rows_seen, self.rows_skipped, self._test.t = (int(count) for count in state["row_counts"].tolist())
        for name in self.running:
            setattr(self._test, name, tensor(state[f"alibi_{name}"]))


class MMDDriftOnline(OnlineDrift):
    kind = "alibi:mmd_online"
    running = ("test_window", "k_xy")

    @classmethod
    def _library(cls) -> type[Any]:
        found: type[Any] = load("alibi_detect.cd.pytorch.mmd_online", cls.kind).MMDDriftOnlineTorch
        return found

    @classmethod
    def _reference_needed(cls, window: int) -> int:
        return 4 * window

    @classmethod
    def _calibration_bytes(cls, rows: int, window: int, bootstraps: int) -> int:
        # A permutation of the rows for each bootstrap, of eight bytes, with its parts; and sums over its window.
        return bootstraps * (rows * 8 * 2 + window * 8)


class LSDDDriftOnline(OnlineDrift):
    kind = "alibi:lsdd_online"
    running = ("test_window", "k_xtc")

    @classmethod
    def _library(cls) -> type[Any]:
        found: type[Any] = load("alibi_detect.cd.pytorch.lsdd_online", cls.kind).LSDDDriftOnlineTorch
        return found

    @classmethod
    def _reference_needed(cls, window: int) -> int:
        # Twice the window are kernel centres, and so many again are the bootstraps' windows.
        return 6 * window

    @classmethod
    def _calibration_bytes(cls, rows: int, window: int, bootstraps: int) -> int:
        # Similarities of the rows with the kernel centres, of four bytes, for each bootstrap at once.
        return bootstraps * (rows - 2 * window) * 2 * window * 4

    @classmethod
    def _extra(cls, test: Any) -> Arrays:
        return {"h_lam_inv": test.H_lam_inv.numpy()}

    @staticmethod
    def _put_back(test: Any, fitted: Arrays) -> None:
        test.H_lam_inv = tensor(fitted["h_lam_inv"])


def tensor(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Any:
    import torch

    return torch.from_numpy(array.copy())
