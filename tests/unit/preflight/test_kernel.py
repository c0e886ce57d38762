# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from ansible_collections.mlops.onprem.plugins.module_utils._host.kernel import IPVS, NEEDED, Feature, Kernel
from fake_host import FakeHost

VXLAN = next(feature for feature in NEEDED if feature.name == "vxlan")
OVERLAY = next(feature for feature in NEEDED if feature.name == "overlay")
BR_NETFILTER = next(feature for feature in NEEDED if feature.name == "br_netfilter")


def has(host: FakeHost, feature: Feature) -> bool | None:
    return Kernel(host.root, host.release).has(feature)


def test_what_is_built_in_is_there(host: FakeHost) -> None:
    host.config(VXLAN="y")
    assert has(host, VXLAN) is True


def test_what_the_configuration_leaves_out_is_missing(host: FakeHost) -> None:
    host.config(VXLAN="", OVERLAY_FS="y")
    missing, unknown = Kernel(host.root, host.release).missing((VXLAN, OVERLAY))
    assert (missing, unknown) == ([VXLAN], [])


def test_a_module_counts_only_if_its_file_is_installed(host: FakeHost) -> None:
    host.config(VXLAN="m", BRIDGE_NETFILTER="m")
    host.modules("vxlan")
    assert has(host, VXLAN) is True
    assert has(host, BR_NETFILTER) is False


def test_a_module_without_any_listing_is_believed(host: FakeHost) -> None:
    host.config(VXLAN="m")
    assert has(host, VXLAN) is True


def test_the_listing_alone_tells_too(host: FakeHost) -> None:
    host.modules("br_netfilter", builtin=("overlay",))
    assert [has(host, feature) for feature in (BR_NETFILTER, OVERLAY, VXLAN)] == [True, True, False]


def test_dashes_in_file_names_are_underscores(host: FakeHost) -> None:
    host.modules("br-netfilter")
    assert has(host, BR_NETFILTER) is True


def test_what_runs_needs_no_other_proof(host: FakeHost) -> None:
    host.config(IP_VS="")
    host.write("proc/net/ip_vs")
    host.write("proc/filesystems", "nodev\tproc\nnodev\toverlay\n")
    assert has(host, IPVS) is True
    assert has(host, OVERLAY) is True


def test_the_configuration_in_boot_is_read_for_this_release_only(host: FakeHost) -> None:
    host.write("boot/config-5.0.0", "CONFIG_VXLAN=y\n")
    assert has(host, VXLAN) is None
    host.write(f"boot/config-{host.release}", "CONFIG_VXLAN=y\n")
    assert has(host, VXLAN) is True


def test_a_kernel_that_tells_nothing_is_no_problem(host: FakeHost) -> None:
    missing, unknown = Kernel(host.root, host.release).missing()
    assert missing == []
    assert unknown == list(NEEDED)


def test_control_groups_that_are_switched_off(host: FakeHost) -> None:
    host.write("proc/cgroups", "#subsys_name\thierarchy\tnum\tenabled\ncpu\t1\t1\t1\nmemory\t0\t1\t0\npids\t3\t1\t1\n")
    assert Kernel(host.root, host.release).missing_controllers() == ["memory"]
    host.write("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n")
    assert Kernel(host.root, host.release).missing_controllers() == []


def test_this_machine_can_be_read() -> None:
    kernel = Kernel()
    assert kernel.has(OVERLAY) is not False
    assert isinstance(kernel.missing_controllers(), list)
