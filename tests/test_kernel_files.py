"""Kernels as files: whose folder, written once, by many processes at once, and when broken."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

STEP = """
import torch, thalweg
from thalweg.backends import kernels
p = torch.ones(3, requires_grad=True)
optimizer = thalweg.SGD([p], lr=0.1)
p.grad = torch.ones(3)
optimizer.step()
print(optimizer.backend.name, round(p[0].item(), 3), kernels.folder())
"""


def start(cache: Path, **more: str) -> Any:
    return subprocess.Popen(
        [sys.executable, "-c", STEP],
        env={**os.environ, "XDG_CACHE_HOME": str(cache), **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: Any) -> Path:
    """The folder that a successful step has used."""
    out, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    assert err == ""
    name, value, folder = out.split()
    assert (name, value) == ("numba", "0.9")
    return Path(folder)


def step(cache: Path, **more: str) -> Path:
    return finish(start(cache, **more))


def listed(folder: Path) -> dict[str, int]:
    """Every file below, and when it was written; what Python itself compiles apart."""
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".pyc"
    }


@pytest.fixture(scope="module")
def warm(tmp_path_factory) -> Path:
    """A cache in which the kernel of one step lies."""
    cache = tmp_path_factory.mktemp("cache")
    step(cache)
    return cache


def copy_of(warm: Path, to: Path) -> Path:
    import shutil

    shutil.copytree(warm, to)
    return to


def test_the_folder_is_the_users_and_the_second_process_compiles_nothing(warm):
    folder = warm / "thalweg" / "kernels"
    before = listed(folder)
    assert any(name.endswith(".o") for name in before)
    assert folder.stat().st_mode & 0o077 == 0
    assert step(warm) == folder
    assert listed(folder) == before


def test_a_change_of_files_is_seen(warm, tmp_path):
    folder = copy_of(warm, tmp_path / "copy") / "thalweg" / "kernels"
    before = listed(folder)
    time.sleep(0.01)
    next(folder.rglob("*.o")).touch()
    assert listed(folder) != before


def test_a_folder_that_others_can_write_is_not_used(warm, tmp_path):
    cache = copy_of(warm, tmp_path / "copy")
    folder = cache / "thalweg" / "kernels"
    folder.chmod(0o770)
    before = listed(folder)
    used = step(cache)
    assert used != folder
    assert listed(folder) == before
    assert not used.exists(), "a private folder is removed at exit"


@pytest.mark.skipif(os.name == "nt", reason="no such links")
def test_a_link_is_not_used(warm, tmp_path):
    cache = tmp_path / "cache"
    (cache / "thalweg").mkdir(parents=True, mode=0o700)
    (cache / "thalweg" / "kernels").symlink_to(warm / "thalweg" / "kernels")
    assert "thalweg/kernels" not in str(step(cache))


def test_where_no_folder_can_be_made_it_is_a_private_one(tmp_path):
    """As with a home that is read-only, which root would write all the same."""
    (tmp_path / "file").write_text("")
    used = step(tmp_path / "file" / "cache", HOME=str(tmp_path / "file"))
    assert used.name.startswith("thalweg-")
    assert not used.exists()


def test_the_process_that_compiles_computes_the_same_bits_as_later_ones(tmp_path):
    """Norms as well, whose last bits depend on how their loop was compiled."""
    code = """
import torch, thalweg
source = torch.Generator().manual_seed(0)
p = torch.randn(300_001, generator=source).requires_grad_()
optimizer = thalweg.AdamW([p], clip=0.1)
for _ in range(5):
    p.grad = torch.randn(p.shape, generator=source)
    print(optimizer.apply(torch.tensor(1.0)))
"""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert found[0] == found[1]


@pytest.mark.skipif(os.name == "nt", reason="no such limit")
def test_a_disk_that_takes_nothing_stops_no_step(tmp_path):
    """As when it is full: the source goes to a private folder, the code is kept nowhere."""
    code = f"""
import tempfile
from thalweg.backends import kernels
def full(path, data, write=kernels.write):
    if str(path).startswith({str(tmp_path)!r}) or path.suffix == ".o":
        raise OSError(28, "no space left on device")
    write(path, data)
kernels.write = full
{STEP}"""
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert out.split()[:2] == ["numba", "0.9"]


def test_many_processes_compile_one_kernel_at_once(tmp_path):
    processes = [start(tmp_path) for _ in range(3)]
    folders = {finish(process) for process in processes}
    assert folders == {tmp_path / "thalweg" / "kernels"}
    left = [name for name in listed(folders.pop()) if name.endswith((".draft", ".tmp"))]
    assert left == []


BREAKS = {
    "truncated code": (".o", lambda data: data[:100]),
    "empty code": (".o", lambda data: b""),
    "garbage code": (".o", lambda data: b"\x00" * 999),
    "one bit of the code": (".o", lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]),
    "empty source": (".py", lambda data: b""),
    "garbage source": (".py", lambda data: b"\xff\xfe"),
}


QUICK = ("one bit of the code", "empty source")
"""The others, which are compiled anew as well, are slow ones."""


@pytest.mark.parametrize(
    ("suffix", "broken"),
    [
        pytest.param(*row, id=name, marks=[] if name in QUICK else pytest.mark.slow)
        for name, row in BREAKS.items()
    ],
)
def test_a_broken_file_is_made_anew(suffix, broken, warm, tmp_path):
    cache = copy_of(warm, tmp_path / "copy")
    folder = cache / "thalweg" / "kernels"
    (path,) = folder.rglob(f"*{suffix}")
    path.write_bytes(broken(path.read_bytes()))
    if suffix == ".py":  # the source is read only where the code lacks
        path.with_suffix(".o").unlink()
    assert step(cache) == folder
    before = listed(folder)
    assert step(cache) == folder
    assert listed(folder) == before, "healed, not compiled each time"


def test_a_missing_file_is_made_anew(warm, tmp_path):
    cache = copy_of(warm, tmp_path / "copy")
    (path,) = (cache / "thalweg" / "kernels").rglob("*.o")
    path.unlink()
    step(cache)
    assert path.exists()
