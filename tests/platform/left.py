# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Lists what bears the platform's name on its cluster and this machine; ends with 1 where there is anything.

A cluster removes the containers of what is gone by itself, on other nodes a moment later: so long is waited for them.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent)]

from installed import installed  # noqa: E402

MOMENT = 30.0  # seconds


def main() -> int:
    site = installed().site
    until = time.monotonic() + MOMENT
    while (left := site.left()) and time.monotonic() < until:
        time.sleep(1)
    for item in left:
        print(f"left: {item}")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
