# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Run in the page's environment: opens it, by day and at dusk, and prints what is on it each time."""

from __future__ import annotations

import json
import sys
from typing import Any

from streamlit.testing.v1 import AppTest


def seen(page: AppTest) -> dict[str, Any]:
    return {
        "exceptions": [one.message for one in page.exception],
        "answers": [[one.label, one.value] for one in page.metric],
        "charts": len(page.get("vega_lite_chart")),
        "errors": [one.value for one in page.error],
        "warnings": [one.value for one in page.warning],
        "successes": [one.value for one in page.success],
        "hints": [one.value for one in page.info],
        "tables": [json.loads(one.value.to_json(orient="records")) for one in page.dataframe],
    }


page = AppTest.from_file(sys.argv[1], default_timeout=600).run()
first = seen(page)
if page.slider:
    page.slider[0].set_value(0.4).run()
print(json.dumps([first, seen(page)]))
