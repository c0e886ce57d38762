# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The prediction stream kept: records and labels as hashed Parquet, behind MLflow's artefact proxy.

    <experiment>/stream/<model>/records/<version>/<day>/<sha256>.parquet   one row for each row of a request
    <experiment>/stream/<model>/labels/<day>/<sha256>.parquet              labels, whenever they came
    <experiment>/stream/<model>/manifests/<day>/<topic's kind>-<partition>-<first offset>.json

A manifest names the files of one chunk, a run of offsets of one partition, with their hashes and rows. It is written
after them and before the offset is committed, and what no manifest names isn't there for a reader. So a chunk that is
done again after a crash replaces its own manifest, however many messages it has this time, and no row is there twice.
"""
