"""Start-up checks: what they choose, what they put back, and what they trust from the last time.

Nothing here depends on how fast the machine is: what measures is replaced.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from contextlib import ExitStack
from functools import cache as once
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from sklearn.datasets import load_iris
from torch import nn

import thalweg
from thalweg import cache
from thalweg.cli.main import main
from thalweg.errors import UsageError
from thalweg.jobs.machine import machine_of
from thalweg.jobs.settings import Settings
from thalweg.scale import findings, malloc, matmul, threads, work
from thalweg.scale.choice import Choice
from thalweg.scale.work import Work, products, trial_step, work_of
from thalweg.tasks.sources import Arrays

SPEEDUP = matmul.speedup  # the whole suite runs with another in its place

SOME = Work(1e9, ((64, 32, 32), (64, 32, 8)))
SMALL = Work(1e6, ((4, 4, 4),))
KEY = {"check": "some", "torch": "1"}


def exact(work: Work) -> float:
    return 3e-7


def never(*_: Any) -> float:
    raise AssertionError("it was measured again")


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A cache folder of one's own: where `thalweg` will stand."""
    monkeypatch.setattr(findings, "folder", cache.folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "thalweg"


@pytest.fixture
def untuned(monkeypatch) -> None:
    """A process whose malloc is as it came, and stays so."""

    @once
    def tune() -> Choice:
        return Choice(malloc.KEPT, "as far as this test goes")

    monkeypatch.setattr(malloc, "tune_malloc", tune)


# The cache folder


def test_the_folder_is_made_for_its_user_alone(home):
    assert cache.folder("kernels") == home / "kernels"
    for place in (home, home / "kernels"):
        assert place.stat().st_mode & 0o777 == 0o700
    assert cache.folder("kernels") == home / "kernels"


def test_without_an_absolute_path_it_stands_in_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", "somewhere/else"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache.folder("a") == tmp_path / ".cache" / "thalweg" / "a"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.folder("a") == tmp_path / ".cache" / "thalweg" / "a"


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o720, 0o702])
@pytest.mark.parametrize("where", ["thalweg", "thalweg/checks"])
def test_a_folder_that_others_can_write_is_not_used(where, mode, home):
    assert cache.folder("checks") is not None
    (home.parent / where).chmod(mode)
    assert cache.folder("checks") is None
    assert findings.recall(KEY) is None


@pytest.mark.parametrize("where", ["thalweg", "thalweg/checks"])
def test_a_link_or_a_file_in_its_place_is_not_used(where, home, tmp_path):
    place = home.parent / where
    place.parent.mkdir(exist_ok=True, mode=0o700)
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    place.symlink_to(tmp_path / "elsewhere")
    assert cache.folder("checks") is None
    place.unlink()
    place.write_text("")
    assert cache.folder("checks") is None


def test_a_folder_of_somebody_else_is_not_used(home, monkeypatch):
    assert cache.folder("checks") is not None
    someone = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: someone)
    assert cache.folder("checks") is None


def test_a_home_that_cannot_be_written_means_no_cache(home, monkeypatch):
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert cache.folder("checks") is None
    findings.remember(KEY, 1.0)
    assert findings.recall(KEY) is None
    assert not home.exists()


def test_a_folder_that_became_read_only_means_no_cache(home, monkeypatch):
    assert cache.folder("checks") is not None
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert cache.folder("checks") is None


def test_a_disk_that_is_full_is_no_error(home, monkeypatch):
    def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    findings.remember(KEY, 1.0)
    assert findings.recall(KEY) is None
    assert not list((home / "checks").iterdir())


# What is remembered


def test_what_is_remembered_is_recalled_by_its_whole_key(home):
    assert findings.recall(KEY) is None
    findings.remember(KEY, 1.25)
    assert findings.recall(KEY) == 1.25
    assert findings.recall({**KEY, "torch": "2"}) is None
    findings.remember(KEY, 2.0)
    assert findings.recall(KEY) == 2.0
    assert len(list((home / "checks").iterdir())) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00\xff", '{"key": {}, "value": 9.0}', "9.0"])
def test_a_broken_file_is_ignored_and_written_anew(text, home):
    findings.remember(KEY, 1.25)
    (file,) = (home / "checks").iterdir()
    file.write_bytes(text.encode("latin-1"))
    assert findings.recall(KEY) is None
    findings.remember(KEY, 1.25)
    assert findings.recall(KEY) == 1.25


def test_two_processes_at_once_leave_a_whole_file(home):
    code = f"""
from thalweg.scale.findings import recall, remember
for number in range(300):
    remember({KEY!r}, [number] * 200)
    found = recall({KEY!r})
    assert len(found) == 200 and len(set(found)) == 1, found
"""
    both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    assert findings.recall(KEY) == [299] * 200
    assert len(list((home / "checks").iterdir())) == 1


# The work


def test_work_counts_every_matrix_and_each_position_of_a_convolution():
    net = nn.Sequential(nn.Linear(64, 256), nn.LayerNorm(256), nn.Linear(256, 10))
    found = work_of(net, 32)
    assert found.shapes == ((32, 64, 256), (32, 256, 10))
    assert found.operations == 6 * 32 * (64 * 256 + 256 * 10)
    assert found.is_tiny

    found = work_of(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Embedding(1000, 8)), 32, 28 * 28)
    assert found.shapes == ((32 * 28 * 28, 27, 8),)
    assert work_of(nn.Flatten(), 32) == Work(0, ())


@pytest.mark.parametrize("shape", [(8192, 64, 256), (1, 30_000, 30_000), (3, 5, 7)])
def test_a_piece_of_work_is_as_small_as_it_must_be(shape):
    whole = Work(0, (shape, (64, 64, 64)))
    piece = whole.cut(1e7)
    assert piece.operations <= 1e7
    assert all(side >= 1 for each in piece.shapes for side in each)
    assert Work(0, ((3, 5, 7),)).cut(1e7).shapes == ((3, 5, 7),)
    assert Work(0, ()).cut(1e7) == Work(0, ())


def test_trials_leave_torchs_generator_alone():
    before = torch.get_rng_state()
    trial_step(SOME)()
    shapes = [tuple(product.shape) for product in products(SOME)()]
    assert shapes == [(64, 32), (64, 32), (32, 32), (64, 8), (64, 32), (8, 32)]
    matmul.error_of(SOME)
    assert torch.equal(torch.get_rng_state(), before)


# Threads


class Clock:
    """Takes so long with one thread, and with all the next of some times; runs nothing."""

    def __init__(self, one: float, many: list[float]):
        self.one, self.many, self.told = one, many, 0.0
        self.calls = 0

    def __call__(self, run: Any) -> float:
        taken = self.one
        if torch.get_num_threads() > 1:
            taken = self.many[self.calls % len(self.many)]
            self.calls += 1
        self.told += taken
        return taken


@pytest.fixture
def two_threads():
    with threads.threads(2):
        yield


CLOCKS = {
    "twice as fast": (Clock(2e-3, [1e-3]), 2),
    "hardly faster": (Clock(1e-3, [0.95e-3]), 1),
    "slower": (Clock(1e-3, [2e-3]), 1),
    "fifty times slower": (Clock(1e-3, [50e-3]), 1),
    "faster but for a long tail": (Clock(1e-3, [0.5e-3] * 9 + [20e-3]), 1),
    "longer than the whole check": (Clock(1e-3, [1.0]), 1),
    "one is longer than the whole check": (Clock(1.0, [1.0]), 1),
    "a slow first time only": (Clock(1e-3, [5e-3] + [0.5e-3] * 99), 2),
    "a clock that stands still": (Clock(0.0, [0.0]), 1),
}


@pytest.mark.parametrize(("clock", "count"), CLOCKS.values(), ids=CLOCKS)
def test_all_threads_only_where_they_are_faster_on_the_whole(clock, count, two_threads):
    chosen = threads.choose(SOME, measure=clock)
    assert chosen.value == count
    assert "a trial" in chosen.why
    assert torch.get_num_threads() == 2
    longest = max(clock.one, *clock.many)
    assert clock.told <= threads.BUDGET + longest


def test_a_small_step_and_a_single_thread_are_not_measured(two_threads):
    assert threads.choose(SMALL, measure=never).value == 1
    with threads.threads(1):
        assert threads.choose(SOME, measure=never).value == 1


def test_a_trial_that_fails_puts_the_threads_back(two_threads):
    with pytest.raises(AssertionError, match="measured again"):
        threads.choose(SOME, measure=never)
    assert torch.get_num_threads() == 2


# The matmul route


def precisions() -> tuple[str, ...]:
    backends: Any = torch.backends
    places = (backends.mkldnn.matmul, backends.cuda.matmul, backends.mkldnn.conv)
    return (torch.get_float32_matmul_precision(), *(place.fp32_precision for place in places))


def ratio(times: float):
    """A clock by which oneDNN is so many times as fast."""
    return lambda run: 1e-3 if torch.get_float32_matmul_precision() == "highest" else 1e-3 / times


@pytest.fixture
def measured(home, monkeypatch):
    """The check as it comes, with an empty cache."""
    monkeypatch.setattr(matmul, "speedup", SPEEDUP)


@pytest.mark.parametrize(
    ("times", "chosen"), [(2.0, "onednn"), (1.3, "onednn"), (1.1, "torch"), (0.5, "torch")]
)
def test_onednn_only_where_it_is_clearly_faster(times, chosen, measured):
    before = precisions()
    found = matmul.choose(SOME, measure=ratio(times), error=exact)
    assert found.value == chosen
    assert f"{times:.2f} times as fast" in found.why
    assert precisions() == before


@pytest.mark.parametrize("error", [1e-5, 3e-3, float("nan"), float("inf")])
def test_onednn_never_where_it_is_not_float32(error, measured):
    found = matmul.choose(SOME, measure=ratio(9.0), error=lambda work: error)
    assert found.value == "torch"
    assert "not float32" in found.why
    with pytest.raises(UsageError, match=r"'onednn' cannot be used here .* choose auto or torch"):
        matmul.require(SOME, error=lambda work: error)


def test_one_lucky_trial_is_not_enough(measured, monkeypatch):
    found = iter((2.0, 1.0))
    monkeypatch.setattr(matmul, "speedup", lambda piece, measure: next(found))
    assert matmul.choose(SOME, error=exact).value == "torch"


def test_the_speed_is_remembered_and_the_error_looked_at_each_time(measured):
    assert matmul.choose(SOME, measure=ratio(2.0), error=exact).value == "onednn"
    assert matmul.choose(SOME, measure=never, error=exact).value == "onednn"
    assert matmul.choose(SOME, measure=never, error=lambda work: 1e-3).value == "torch"
    other = Work(1e9, ((32, 32, 32),))
    assert matmul.choose(other, measure=ratio(0.5), error=exact).value == "torch"


@pytest.mark.parametrize("value", ['"fast"', "-1.0", "null", "true", "NaN"])
def test_a_speed_that_is_none_is_measured_again(value, measured, home):
    matmul.choose(SOME, measure=ratio(0.5), error=exact)
    (file,) = (home / "checks").iterdir()
    file.write_text(file.read_text().replace(": 0.5}", f": {value}}}"))
    assert value in file.read_text()
    assert matmul.choose(SOME, measure=ratio(2.0), error=exact).value == "onednn"


def test_without_a_cache_it_is_measured_each_time(measured, home):
    home.write_text("a file in its place")
    for times, chosen in ((2.0, "onednn"), (0.5, "torch")):
        assert matmul.choose(SOME, measure=ratio(times), error=exact).value == chosen


def test_a_small_step_keeps_torchs_route(measured):
    assert matmul.choose(SMALL, measure=never, error=never).value == "torch"


def test_a_precision_that_the_user_set_is_left():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        found = matmul.choose(SOME, measure=never, error=never)
        assert (found.value, "set before, to high" in found.why) == ("torch", True)
        with matmul.route("onednn"):
            assert torch.get_float32_matmul_precision() == "medium"
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


def test_the_route_is_put_back_after_an_error():
    def fail() -> None:
        assert torch.get_float32_matmul_precision() == "medium"
        raise ZeroDivisionError

    before = precisions()
    with pytest.raises(ZeroDivisionError), matmul.route("onednn"):
        fail()
    assert precisions() == before
    with matmul.route("torch"):
        assert precisions() == before


def test_the_error_of_true_products_is_float32s_and_a_planted_one_is_seen(monkeypatch):
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    assert matmul.error_of(SOME) >= 0

    def rounded(work: Work, dtype: torch.dtype = torch.float32):
        run = products(work, dtype)
        if dtype == torch.float64:
            return run
        return lambda: [product.bfloat16().float() for product in run()]

    monkeypatch.setattr(matmul, "products", rounded)
    assert matmul.error_of(SOME) > 100 * matmul.LIMIT


# malloc

STEPS = """
import resource, sys
import thalweg, torch

torch.set_num_threads(1)
if sys.argv[1] == "kept":
    print(thalweg.tune_malloc().value)
else:
    print("left")

def step():
    return torch.ones(12_000_000).data_ptr()

for _ in range(30):
    step()  # the heap takes some steps to settle: each buffer's start is aligned
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(word: str) -> int:
    """Page faults of ten steps, each with a buffer of 48 MB."""
    done = subprocess.run(
        [sys.executable, "-c", STEPS, word], capture_output=True, text=True, check=True
    )
    said, count = done.stdout.split()
    assert said == word
    return int(count)


def test_a_kept_buffer_is_not_paged_in_again():
    reason = malloc._reason_against()
    if reason is not None:
        pytest.skip(reason)
    assert faults("kept") * 10 < faults("left")


def test_without_glibc_nothing_is_done_and_the_reason_said(monkeypatch):
    malloc.tune_malloc.cache_clear()
    monkeypatch.setattr(malloc.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(malloc.ctypes, "CDLL", never)
    found = malloc.tune_malloc()
    malloc.tune_malloc.cache_clear()
    assert str(found) == "left (the C library is not glibc)"


def test_another_allocator_is_left_alone(monkeypatch):
    malloc.tune_malloc.cache_clear()
    monkeypatch.setattr(malloc.platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(malloc, "_address", lambda library: 1 if library else 2)
    found = malloc.tune_malloc()
    malloc.tune_malloc.cache_clear()
    assert str(found) == "left (another allocator stands in for glibc's)"


def test_an_allocator_that_was_loaded_first_is_noticed(tmp_path):
    reason, compiler = malloc._reason_against(), shutil.which("cc")
    if reason is not None or compiler is None:
        pytest.skip(reason or "no C compiler")
    source, library = tmp_path / "first.c", tmp_path / "first.so"
    source.write_text("int posix_memalign(void **p, unsigned long a, unsigned long n) {return 12;}")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    code = "from thalweg.scale.malloc import tune_malloc; print(tune_malloc())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "left (another allocator stands in for glibc's)\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [("MALLOC_TRIM_THRESHOLD_", "1"), ("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=1")],
)
def test_what_the_environment_sets_is_left_alone(name, value, monkeypatch):
    monkeypatch.setattr(malloc.platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(malloc, "_is_glibcs_own", lambda: True)
    assert malloc._reason_against() is None
    monkeypatch.setenv(name, value)
    assert malloc._reason_against() == f"{name} is set in the environment"


def test_an_older_glibc_takes_what_it_can(monkeypatch):
    asked = []

    def mallopt(name: int, value: int) -> int:
        asked.append((name, value))
        return int(value <= 1 << 25 or name == -1)

    monkeypatch.setattr(malloc, "_reason_against", lambda: None)
    glibc = SimpleNamespace(mallopt=mallopt, malloc_trim=lambda kept: 1)
    monkeypatch.setattr(malloc.ctypes, "CDLL", lambda _: glibc)
    malloc.tune_malloc.cache_clear()
    assert not malloc.is_tuned()
    assert str(malloc.tune_malloc()) == "kept (buffers up to 32 MiB stay in the process)"
    assert malloc.is_tuned()
    malloc.tune_malloc.cache_clear()
    assert [name for name, _ in asked] == [-3, -3, -1]


# Within a fit

LESS: dict[str, Any] = {"epochs": 2, "out": None, "quiet": True}


needs_float32 = pytest.mark.skipif(
    matmul.error_of(SOME) > matmul.LIMIT,
    reason="oneDNN computes in less than float32 on this processor (it has tiles for bfloat16)",
)


def iris() -> tuple[Any, Any]:
    return load_iris(return_X_y=True)


@needs_float32
def test_from_python_malloc_is_left_and_the_rest_put_back(untuned):
    before, count = precisions(), torch.get_num_threads()
    run = thalweg.fit(iris(), threads=2, matmul="onednn", **LESS)
    told = run.result["machine"]
    assert {name: row["chosen"] for name, row in told.items()} == {
        "threads": 2,
        "matmul": "onednn",
        "malloc": "left",
    }
    assert "thalweg.tune_malloc()" in told["malloc"]["why"]
    assert not malloc.is_tuned()
    assert (precisions(), torch.get_num_threads()) == (before, count)

    malloc.tune_malloc()
    assert thalweg.fit(iris(), **LESS).result["machine"]["malloc"]["chosen"] == "kept"


@needs_float32
def test_a_fit_that_fails_puts_everything_back():
    class Broken(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            seen.append((torch.get_num_threads(), torch.get_float32_matmul_precision()))
            raise ZeroDivisionError

    seen: list[tuple[int, str]] = []
    before, count = precisions(), torch.get_num_threads()
    with pytest.raises(ZeroDivisionError):
        thalweg.fit(iris(), model=Broken(4, 3), threads=2, matmul="onednn", **LESS)
    assert seen == [(2, "medium")]
    assert (precisions(), torch.get_num_threads()) == (before, count)


@needs_float32
def test_what_was_chosen_is_told_recorded_and_repeated_without_measuring(
    tmp_path, monkeypatch, capsys, untuned
):
    monkeypatch.chdir(tmp_path)
    load_iris(as_frame=True).frame.to_csv("iris.csv", index=False)
    words = "fit iris.csv --target target --task classification --model mlp:8 --epochs 3 --json"
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(work, "TINY", 0.0)
        patch.setattr(threads, "choose", lambda work: Choice(2, "twice as fast"))
        patch.setattr(matmul, "speedup", lambda piece, measure: 2.0)
        assert main(shlex.split(f"{words} --name first")) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)["machine"]
    assert told["threads"] == {"chosen": 2, "why": "twice as fast"}
    assert told["malloc"]["chosen"] == "kept"
    assert "threads 2 (twice as fast); matmul onednn (oneDNN is 2.00 times as fast" in err
    assert "malloc kept (as far as this test goes)" in err

    monkeypatch.setattr(threads, "choose", never)
    monkeypatch.setattr(matmul, "choose", never)
    assert main(shlex.split("fit --config runs/first/run.toml --name second --quiet")) == 0
    folders = [Path("runs", name) for name in ("first", "second")]
    texts = [tomllib.loads((folder / "run.toml").read_text()) for folder in folders]
    assert texts[0] == texts[1]
    settings = texts[0]["settings"]
    assert (settings["threads"], settings["matmul"], settings["malloc"]) == (2, "onednn", "auto")
    weights = [(folder / "model.safetensors").read_bytes() for folder in folders]
    assert weights[0] == weights[1]

    record = thalweg.load(folders[0]).record
    assert (record.settings["threads"], record.settings["matmul"]) == (2, "onednn")
    assert record.environment["threads"] == "2 (twice as fast)"
    assert record.environment["malloc"].startswith("kept")
    assert "2 (twice as fast)" in (folders[0] / "report.html").read_text()


def test_malloc_can_be_switched_off(tmp_path, monkeypatch, capsys, untuned):
    monkeypatch.chdir(tmp_path)
    load_iris(as_frame=True).frame.to_csv("iris.csv", index=False)
    words = "fit iris.csv --target target --model linear --epochs 1 --malloc off --quiet --json"
    assert main(shlex.split(words)) == 0
    assert json.loads(capsys.readouterr().out)["machine"]["malloc"] == {
        "chosen": "left",
        "why": "asked for",
    }
    assert not malloc.is_tuned()


def test_a_run_elsewhere_than_on_the_cpu_is_left_alone(monkeypatch, untuned):
    for check in (threads, matmul):
        monkeypatch.setattr(check, "choose", never)
    data = Arrays(torch.zeros(100, 4), torch.zeros(100))
    task: Any = SimpleNamespace(model=nn.Linear(4, 2), data=data, device=torch.device("cuda"))
    for asked in ({}, {"matmul": "onednn"}):
        found = machine_of(task, 10, Settings(**asked), owns_process=True)
        assert found.sentences == {
            "threads": "1 (the run computes on cuda)",
            "matmul": "torch (the run computes on cuda)",
            "malloc": "left (the run computes on cuda)",
        }
    assert machine_of(task, 10, Settings(threads=3), owns_process=True).threads.value == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threads": "many"}, r"threads is 'many': it must be auto, or a whole number in 1"),
        ({"threads": 1.5}, "threads is 1.5: it must be auto, or a whole number"),
        ({"threads": True}, "threads is True"),
        ({"matmul": "mkl"}, "matmul 'mkl' is unknown: choose one of auto, torch, onednn"),
        ({"matmul": "onednnn"}, "did you mean onednn"),
        ({"malloc": "on"}, "malloc 'on' is unknown: choose one of auto, off"),
        ({"malloc": None}, "malloc is None: it must be a text"),
    ],
)
def test_a_wrong_value_is_answered_in_one_line(settings, message):
    with pytest.raises(UsageError, match=message):
        thalweg.fit(iris(), **settings, **LESS)


@pytest.mark.parametrize("words", ["--threads many", "--matmul mkl", "--malloc on"])
def test_a_wrong_option_exits_with_2(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    load_iris(as_frame=True).frame.to_csv("iris.csv", index=False)
    assert main(shlex.split(f"fit iris.csv --target target {words}")) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert not Path("runs").exists()
