# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Files of ours in a directory that may be somebody's repository; and YAML that every reader reads alike."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.mlops.onprem.plugins.module_utils._workload import WorkloadError
from ansible_collections.mlops.onprem.plugins.plugin_utils.manifests import HEADER, INDEX, Directory, to_yaml
from hypothesis import given
from hypothesis import strategies as st

TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from("\n\t'\"#:-"), max_size=40)
DATA = st.recursive(
    TEXTS | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


def put(folder: Path, files: dict[str, str], sets: dict[str, Any] | None = None) -> bool:
    """Whether something changed."""
    directory = Directory(folder)
    changes = directory.changes(files, {"platform": {}} if sets is None else sets)
    directory.make(changes)
    return bool(changes)


def there(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name != INDEX
    }


@given(DATA)
def test_yaml_reads_back_as_what_was_written(data: Any) -> None:
    assert list(yaml.safe_load_all(to_yaml([data, data]))) == [data, data]
    assert to_yaml([data]) == to_yaml([data])


@pytest.mark.parametrize(
    "word",
    ["1e3", "12e45", "0x1f", "0o17", "017", "1_000", "yes", "y", "N", "on", "null", "~", "2001-01-01", "1:30", ".inf"],
)
def test_what_a_reader_could_take_for_something_else_is_quoted(word: str) -> None:
    assert f"key: '{word}'\n" in to_yaml([{"key": word}])


def test_long_texts_are_readable() -> None:
    assert to_yaml([{"a": "one\ntwo\n", "b": ["x", {"c": 1}]}]) == (
        HEADER + "---\na: |\n  one\n  two\nb:\n  - x\n  - c: 1\n"
    )


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    assert put(tmp_path / "out", {"platform/a.yaml": "1", "shared.yaml": "2"})
    assert not put(tmp_path / "out", {"platform/a.yaml": "1", "shared.yaml": "2"})
    assert there(tmp_path / "out") == {"platform/a.yaml": "1", "shared.yaml": "2"}
    assert (tmp_path / "out/shared.yaml").stat().st_mode & 0o777 == 0o644


def test_stale_files_go_and_foreign_ones_stay(tmp_path: Path) -> None:
    put(tmp_path, {"platform/a.yaml": "1", "platform/configs/c": "2", "models/m.yaml": "3"})
    (tmp_path / "platform/README").write_text("mine")
    (tmp_path / "models/m.yaml").write_text("changed by hand")
    assert put(tmp_path, {"platform/a.yaml": "1"})
    assert there(tmp_path) == {"platform/a.yaml": "1", "platform/README": "mine"}
    assert not (tmp_path / "platform/configs").exists()
    assert not (tmp_path / "models").exists()


def test_the_last_file_takes_the_directory_along(tmp_path: Path) -> None:
    put(tmp_path / "out", {"platform/a.yaml": "1"})
    assert put(tmp_path / "out", {}, {})
    assert not (tmp_path / "out").exists()
    assert tmp_path.exists()


def test_what_was_changed_by_hand_is_put_right(tmp_path: Path) -> None:
    put(tmp_path, {"a.yaml": "1"})
    (tmp_path / "a.yaml").write_text("2")
    assert put(tmp_path, {"a.yaml": "1"})
    assert there(tmp_path) == {"a.yaml": "1"}


def test_somebody_elses_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("mine")
    with pytest.raises(WorkloadError, match=re.escape(str(tmp_path / "a.yaml"))):
        put(tmp_path, {"a.yaml": "1", "b.yaml": "2"})
    assert there(tmp_path) == {"a.yaml": "mine"}


def test_a_file_with_our_first_line_is_ours(tmp_path: Path) -> None:
    """A checkout may lack the index, whose name begins with a dot."""
    (tmp_path / "a.yaml").write_text(HEADER + "---\nold\n")
    assert put(tmp_path, {"a.yaml": HEADER + "---\nnew\n"})


def test_an_interrupted_run_leaves_nothing_foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = Directory(tmp_path)
    changes = directory.changes({"a": "1", "b": "2"}, {"platform": {}})
    write = Directory._write

    def broken(self: Directory, name: str, text: str) -> None:
        if name == "b":
            raise OSError("disk full")
        write(self, name, text)

    monkeypatch.setattr(Directory, "_write", broken)
    with pytest.raises(OSError, match="disk full"):
        directory.make(changes)
    monkeypatch.undo()
    assert put(tmp_path, {"a": "other", "c": "3"})
    assert there(tmp_path) == {"a": "other", "c": "3"}


def test_check_shows_what_a_run_does(tmp_path: Path) -> None:
    put(tmp_path, {"a": "1\n", "b": "2\n"})
    changes = Directory(tmp_path).changes({"a": "3\n"}, {"platform": {}})
    assert {item["before_header"].rpartition("/")[2]: (item["before"], item["after"]) for item in changes.diff} | {
        INDEX: None
    } == {"a": ("1\n", "3\n"), "b": ("2\n", ""), INDEX: None}
    assert there(tmp_path) == {"a": "1\n", "b": "2\n"}


@pytest.mark.parametrize(
    "index", ["", "[]", '{"sets": {}}', '{"sets": {}, "files": ["../../etc/passwd"]}', '{"sets": {}, "files": ["/x"]}']
)
def test_a_spoilt_index_is_refused(tmp_path: Path, index: str) -> None:
    (tmp_path / INDEX).write_text(index)
    with pytest.raises(WorkloadError, match="is not what was written"):
        Directory(tmp_path)


def test_a_folder_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").mkdir()
    with pytest.raises(WorkloadError, match="is in the way"):
        put(tmp_path, {"a.yaml": "1"})
