# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A second run changes nothing, soon; --check after it agrees; no container is replaced or restarted."""

from __future__ import annotations

import pytest
from installed import Platform

SECOND_RUN_SECONDS = 25
FURTHER_HOST_SECONDS = 15
"""What each host beside the first may add: here all of them are one machine of two cores."""
OF_YARDSTICK = 3.0
"""On a busy machine: so many times what Ansible takes in the same minute for tasks that do nothing (yardstick.yml)."""


@pytest.mark.parametrize("arguments", [(), ("--check", "--diff")], ids=["run", "check"])
def test_second_run(platform: Platform, arguments: tuple[str, ...]) -> None:
    limit = SECOND_RUN_SECONDS + FURTHER_HOST_SECONDS * (len(platform.facts["addresses"]) - 1)
    before = platform.site.running()
    runs = []
    while len(runs) < 2 and not any(run.seconds < limit for run in runs):  # the machine is shared
        runs.append(platform.playbook(*arguments))
        assert runs[-1].code == 0, runs[-1].end
        assert runs[-1].changed == {"0"}, runs[-1].end
    seconds = min(run.seconds for run in runs)
    nothing = yardstick(platform)
    print(
        f"BAR {'met' if seconds < limit else 'missed'}: second run {' '.join(arguments)}: changed=0, {seconds:.1f} s "
        f"(below {limit}), {seconds / nothing:.1f} times {nothing:.1f} s of nothing (below {OF_YARDSTICK})"
    )
    assert platform.site.running() == before
    assert seconds < max(limit, OF_YARDSTICK * nothing)


def yardstick(platform: Platform) -> float:
    """Seconds that this machine takes for yardstick.yml now."""
    run = platform.playbook(name="../tests/platform/yardstick")
    assert run.code == 0, run.end
    return run.seconds
