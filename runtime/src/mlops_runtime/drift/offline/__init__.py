# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Detectors that compare a window of the stream with a sample of the reference, at intervals of rows or of time.

Thin over scipy and scikit-learn, which only the detectors' own modules load, and only when one of them is fitted
or tests. Every test is a pure function of the window, so a detector that is restored goes on bit for bit.
"""
