# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Drift of a model's inputs and outputs: detectors, their fitting at training time, their artefacts, the service."""
