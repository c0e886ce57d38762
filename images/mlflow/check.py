# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Runs while the image is built: does this MLflow still know the names that the entry point uses?"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import inspect

loader = importlib.machinery.SourceFileLoader("entrypoint", "/usr/local/bin/mlflow-entrypoint")
spec = importlib.util.spec_from_loader("entrypoint", loader)
assert spec is not None
entrypoint = importlib.util.module_from_spec(spec)
loader.exec_module(entrypoint)

from cronsim import CronSim  # noqa: E402
from mlflow.environment_variables import _MLFLOW_SGI_NAME, MLFLOW_SERVER_ENABLE_JOB_EXECUTION  # noqa: E402
from mlflow.server import constants  # noqa: E402
from mlflow.server.auth import sqlalchemy_store  # noqa: E402

_command, settings = entrypoint.server({"MLFLOW_BACKEND_STORE_URI": "x", "MLFLOW_ARTIFACTS_DESTINATION": "y"})
known = {
    constants.BACKEND_STORE_URI_ENV_VAR,
    constants.ARTIFACT_ROOT_ENV_VAR,
    constants.ARTIFACTS_DESTINATION_ENV_VAR,
    constants.SERVE_ARTIFACTS_ENV_VAR,
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION.name,
    _MLFLOW_SGI_NAME.name,
}
used = {name for name in settings if name not in ("MLFLOW_BACKEND_STORE_URI", "MLFLOW_ARTIFACTS_DESTINATION")}
assert used == known, used ^ known

source = inspect.getsource(entrypoint)
for method in ("assign_role_to_user", "add_role_permission", "update_role_permission", "remove_role_permission"):
    assert method in source
    assert callable(getattr(sqlalchemy_store.SqlAlchemyStore, method))
CronSim("17 3 * * *", __import__("datetime").datetime.now())
