# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts an image's build context together on the control host, and has the build host make the image."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.mlops.onprem.plugins.module_utils._images.errors import ImagesError
from ansible_collections.mlops.onprem.plugins.module_utils._images.plan import Item
from ansible_collections.mlops.onprem.plugins.module_utils._images.recipe import (
    argument_name,
    context_tar,
    is_foreign,
    is_rootfs,
)
from ansible_collections.mlops.onprem.plugins.plugin_utils.images import LockFile, Site


class ActionModule(ActionBase):  # type: ignore[misc]
    _requires_connection = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = self._task.args
        try:
            site = Site(arguments)
            item = site.items([arguments["name"]])[0]
            answer = self._make(site, item, arguments, task_vars or {})
        except ImagesError as error:
            raise AnsibleActionFail(f"image {arguments.get('name')}: {error}") from error
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        # The arguments carry the site's mirrors: nobody needs to read them back.
        answer.pop("invocation", None)
        result.update(answer)
        return result

    def _make(self, site: Site, item: Item, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        if self._task.check_mode:
            # Nothing is asked of the build host: it may be blank.
            reference = item.reference if item.key else item.upstream
            did = "would be pulled" if item.how == "pull" else "would be built"
            return {"changed": True, "did": did, "summary": did, "reference": reference, "seconds": 0, "log": ""}
        verb = "pulling" if item.how == "pull" else "building"
        self._display.display(f"{item.name}: {verb} {item.upstream or item.version} ...")
        bases = self._bases(site, item)
        job = {
            "how": item.how,
            "repository": item.repository,
            "key": item.key,
            "version": item.version,
            "licence": item.licence,
            "upstream": item.upstream,
            "upstream_digest": item.upstream_digest,
            "upstream_key": site.table.upstream_key(item.name) if item.how == "pull" else "",
            "context": self._send_context(site, item),
            "arguments": {} if item.how == "pull" else {**site.table.recipe(item.name).args, **bases},
            "bases": list(bases.values()),
            "rootfs": self._rootfs(site, item),
        }
        answer: dict[str, Any] = self._execute_module(
            module_name="mlops.onprem.image_build",
            module_args={**arguments, "artifacts": {}, "job": job},
            task_vars=task_vars,
        )
        recipe = site.table.recipe(item.name)
        if answer.get("upstream_digest") and recipe.pull and item.upstream_digest is None:
            with LockFile.editing(site.lock_path) as lock:
                lock.upstream[recipe.pull] = answer["upstream_digest"]
        return answer

    def _send_context(self, site: Site, item: Item) -> str | None:
        upstream = item.how == "pull"
        if upstream and not site.table.adapts_upstream(item.name):
            return None
        if not self._connection._shell.tmpdir:
            self._make_tmp_path()
        remote: str = self._connection._shell.join_path(self._connection._shell.tmpdir, "context.tar")
        with tempfile.NamedTemporaryFile(prefix="mlops-context-") as local:
            local.write(context_tar(site.table.files(item.name, on_upstream=upstream)))
            local.flush()
            Path(local.name).chmod(0o644)
            self._transfer_file(local.name, remote)
        self._fixup_perms2((self._connection._shell.tmpdir, remote))
        return remote

    def _bases(self, site: Site, item: Item) -> dict[str, str]:
        """Build argument to reference, of what the recipe is based on."""
        if item.how == "pull":
            return {}
        bases = site.table.recipe(item.name).bases
        ours = site.items([base for base in bases if not is_foreign(base)])
        return {
            **{argument_name(base.name): base.reference for base in ours},
            **{argument_name(base): base for base in bases if is_foreign(base)},
        }

    def _rootfs(self, site: Site, item: Item) -> dict[str, str] | None:
        if not is_rootfs(item.name):
            return None
        files = site.table.files(item.name)
        return {"packages": files["packages.txt"].content.decode(), "from": site.table.rootfs_from or ""}
