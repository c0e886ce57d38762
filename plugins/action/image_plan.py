# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Computes the images' keys on the control host, and asks the build host once which are there."""

from __future__ import annotations

import contextlib
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.mlops.onprem.plugins.module_utils._images.errors import ImagesError
from ansible_collections.mlops.onprem.plugins.module_utils._images.plan import (
    Item,
    missing,
    refuse_evaluation,
    unbuildable,
)
from ansible_collections.mlops.onprem.plugins.module_utils._images.reference import Reference
from ansible_collections.mlops.onprem.plugins.plugin_utils.images import LockFile, Site


class ActionModule(ActionBase):  # type: ignore[misc]
    _requires_connection = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            result.update(self._plan(self._task.args, task_vars or {}))
        except ImagesError as error:
            raise AnsibleActionFail(str(error)) from error
        return result

    def _plan(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        site = Site(arguments)
        wanted = list(dict.fromkeys(arguments["wanted"]))
        rebuild = bool(arguments.get("rebuild", False))
        engine = bool(arguments.get("engine", False))
        if site.source is None:
            site.source = self._decide(site, arguments, wanted, task_vars)
        known = site.items(site.table.order(wanted))
        refuse_evaluation(
            [item for item in known if item.name in wanted], bool(arguments.get("allow_evaluation", False))
        )
        references = [item.reference for item in known if item.key]
        info = self._info(arguments, task_vars, references=references, engine=engine)
        if info["registry"] != "ok" and not engine and not self._task.check_mode:
            raise ImagesError(
                f"{info['registry']}; the role registry runs it, or set registry_address to the site's own"
            )
        if engine:
            present: dict[str, str | None] = dict.fromkeys(info["in_engine"], "in the engine")
        else:
            present = info["digests"]
        to_make = missing(site.table, wanted, known, present, rebuild=rebuild)
        if site.source == "build" and not self._task.check_mode:
            self._refuse_unreachable([item for item in to_make if item.how == "pull"], arguments, task_vars or {})
        images = {}
        for item in known:
            if item.name in wanted:
                digest = None if engine else present.get(item.reference)
                images[item.name] = (
                    f"{item.repository}@{digest}" if digest else item.reference if item.key else item.upstream
                )
        return {
            "changed": False,
            "images": images,
            "missing": [item.as_dict() for item in to_make],
            "keys": self._keys(site),
            "source": site.source,
            "evaluation": [item.name for item in known if item.name in wanted and item.evaluation],
        }

    def _keys(self, site: Site) -> list[str]:
        """The current keys of the whole table; a row whose files aren't there has none."""
        keys = []
        for name in site.table.recipes:
            with contextlib.suppress(ImagesError):
                keys += [item.key for item in site.items([name]) if item.key]
        return keys

    def _refuse_unreachable(self, pulled: list[Item], arguments: dict[str, Any], task_vars: dict[str, Any]) -> None:
        """Where images are built, those without a recipe are pulled all the same: it is better said now."""
        if not pulled:
            return
        upstream = sorted({Reference.parse(item.upstream or "").registry for item in pulled})
        if self._info(arguments, task_vars, references=[], upstream=upstream)["upstream_reachable"]:
            return
        raise ImagesError(unbuildable([item.name for item in pulled], upstream))

    def _decide(self, site: Site, arguments: dict[str, Any], wanted: list[str], task_vars: dict[str, Any]) -> str:
        """pull where one of upstream's registries answers the build host, and that is written down."""
        pulls = [site.table.recipe(name).pull for name in site.table.order(wanted)]
        upstream = [site.mirror] if site.mirror else sorted({Reference.parse(pull).registry for pull in pulls if pull})
        if not upstream:
            # Nothing here has an upstream: nothing to decide yet.
            return "build"
        info = self._info(arguments, task_vars, references=[], upstream=upstream)
        source = "pull" if info["upstream_reachable"] else "build"
        if not self._task.check_mode:
            with LockFile.editing(site.lock_path) as lock:
                lock.source = source
        self._display.display(
            f"images: {source} (auto: {', '.join(upstream)} {'answers' if source == 'pull' else 'does not answer'})"
        )
        return source

    def _info(self, arguments: dict[str, Any], task_vars: dict[str, Any], **more: Any) -> dict[str, Any]:
        info: dict[str, Any] = self._execute_module(
            module_name="mlops.onprem.image_info",
            module_args={
                "registry": arguments["registry"],
                "docker_host": arguments.get("docker_host") or "",
                **more,
            },
            task_vars=task_vars,
        )
        if info.get("failed"):
            raise ImagesError(str(info.get("msg") or info.get("module_stderr") or info))
        return info
