"""Kill a command at every system call that may change something; then look.

    python killing.py PLAN      # a Plan in JSON; an Outcome in JSON is printed

Each attempt begins from the current folder and its home as they are at first. A child
process runs the command and is killed (SIGKILL) at one of its calls; a reader looks;
the command is run again, unharmed; the reader looks once more.

**Why these calls are all.** strace first logs every system call of an unharmed run. A
point is the entry of each call that is not HARMLESS, opens to create or cut, or writes
to what is not a pipe: what this list does not know is a point. From the end of one such
call to the entry of the next nobody else can see a difference, so a kill anywhere
between them, at a reading call for one, leaves what the kill at the next point leaves.
Inside a call, only a write can be half done, and it is to a private file: that is for
the readers no other state than the one before it.

**Threads.** strace counts calls by name and thread, so a number names one point only
where one thread makes the calls. "in turn" (the default) therefore runs what is given
to a thread pool at once in the caller, and refuses other threads: what threads write
has a key and a private file of its own, a chunk as well as evidence, so a kill between
the calls of two threads leaves together what two such kills leave. "at once" runs the
threads as they come and kills whichever is first to make its Nth call, or a Git that
the command runs: a sample.

"patched" needs no strace: the points are the calls of Python's own functions.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import hashlib
import io
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from interlock import cli
from interlock.artifact import chunks
from interlock.home import registry_url
from interlock.registry import transfer
from interlock.registry.store import open_store

HARMLESS = set(
    "read pread64 readv lseek stat fstat lstat newfstatat statx statfs fstatfs access"
    " faccessat faccessat2 readlink readlinkat getdents64 getcwd chdir fchdir close"
    " close_range dup dup2 dup3 fcntl pipe2 poll ppoll select pselect6 epoll_create1"
    " epoll_ctl epoll_wait mmap munmap mprotect mremap madvise brk futex getrandom"
    " clone clone3 vfork fork wait4 waitid pidfd_open rt_sigaction rt_sigprocmask"
    " rt_sigreturn sigaltstack restart_syscall getpid gettid getppid getuid geteuid"
    " getgid getegid getpgrp uname sysinfo prlimit64 getrlimit getrusage sched_yield"
    " sched_getaffinity clock_gettime clock_nanosleep gettimeofday set_robust_list"
    " rseq arch_prctl prctl set_tid_address exit exit_group umask fadvise64".split()
)
CHUNK = 4096  # bytes: so that a small file has several
CALL = re.compile(r"^(\w+)\((.*)")
PATCHED = ("link", "rename", "replace", "fsync", "mkdir", "symlink", "unlink", "rmdir")
PR_SET_PTRACER, PR_SET_CHILD_SUBREAPER = 0x59616D61, 36
Answer = tuple[int, str]  # an exit code, and what was said


@dataclass(frozen=True)
class Plan:
    """What to kill, where, and who looks."""

    command: list[str]
    look: list[str]
    how: str = "in turn"  # or "at once", or "patched"; "log": only strace's log
    every: int = 1  # 1: all points; 2: every second; ...
    first: int = 0


@dataclass
class Attempt:
    """What came of one kill."""

    point: str
    killed: bool
    seen: Answer
    again: Answer
    after: Answer
    hurt: list[str]  # keys of the registry that changed, or that are not whole
    left: list[str]  # names that begin with a dot, beside what was pulled
    private: int  # files in the registry that have no key


@dataclass
class Outcome:
    """All attempts, and what the reader says before and after an unharmed run."""

    old: Answer
    new: Answer
    attempts: list[Attempt] = field(default_factory=list)


def cut_small(change: Callable[[Any, str, int], object] = setattr) -> None:
    """Let chunks be small in this process."""
    for module in (chunks, transfer):
        change(module, "CHUNK", CHUNK)


def run(*arguments: str) -> Answer:
    """Run a command quietly: interlock's, or a verb of the store."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = VERBS.get(arguments[0], _interlock)(*arguments)
    return code, said.getvalue()


def _interlock(*arguments: str) -> int:
    return cli.main(arguments)


def _create(_: str, key: str, text: str) -> int:
    """Make `key` hold a long value."""
    open_store(registry_url()).create(key, text.encode() * 100_000)
    return 0


def _read(_: str, key: str) -> int:
    try:
        print(hashlib.sha256(open_store(registry_url()).read(key)).hexdigest())
    except KeyError:
        return 2
    return 0


VERBS: dict[str, Callable[..., int]] = {"create": _create, "read": _read}


def stored() -> dict[str, str]:
    """The SHA-256 of every value in the registry."""
    store = open_store(registry_url())
    return {k: hashlib.sha256(store.read(k)).hexdigest() for k in store.keys("")}


def hurt(*moments: dict[str, str]) -> list[str]:
    """The keys that were not the same at all later moments, or never were right."""
    pairs = itertools.pairwise(moments)
    lost = [k for was, now in pairs for k, sha in was.items() if now.get(k) != sha]
    named = [k for now in moments for k in now if k.startswith("chunks/")]
    return lost + [k for k in named if moments[-1].get(k) != k.rpartition("/")[2]]


# --- a child, and what is done to it --------------------------------------------------


@contextlib.contextmanager
def held(command: list[str], prepare: Callable[[], object]) -> Iterator[int]:
    """A child that is prepared, and runs the command as soon as the block is left."""
    wait, go = os.pipe()
    prepared, ready = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go)
        _child(wait, ready, command, prepare)
    os.close(wait)
    os.close(ready)
    os.read(prepared, 1)
    os.close(prepared)
    try:
        yield child
    finally:
        os.close(go)


def _child(
    wait: int, ready: int, command: list[str], prepare: Callable[[], object]
) -> None:
    code = 70
    try:
        os.setpgid(0, 0)
        ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)
        prepare()
        os.close(ready)
        os.read(wait, 1)  # ends when the parent closes its side
        code, said = run(*command)
        if code:
            print(said, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    os._exit(code)


def ended(child: int) -> int:
    """The status of a child that has ended, and all that it had started."""
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(ChildProcessError):
        while True:  # Git goes on for a moment: it is ours now, for we are a subreaper
            os.waitpid(-child, 0)
    return status


def traced(command: list[str], *options: str, at_once: bool = False) -> bool:
    """Run the command in a child under strace; whether it was killed."""
    prepare = _nothing if at_once else run_threads_in_turn
    follow = ["-f"] if at_once else []
    with held(command, prepare) as child:
        strace = subprocess.Popen(
            ["strace", *follow, *options, "-p", str(child)],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert strace.stderr
        said = strace.stderr.readline()
        assert "attached" in said, said
    status = ended(child)
    strace.communicate()
    if not os.WIFSIGNALED(status) and not at_once:
        assert os.WEXITSTATUS(status) == 0, f"{command} ended with {status}"
    return os.WIFSIGNALED(status)


def _nothing() -> None:
    pass


def run_threads_in_turn() -> None:
    """Do in the caller, at once, what is given to a thread pool."""

    def submit(
        self: object, work: Callable[..., Any], /, *arguments: Any, **named: Any
    ) -> concurrent.futures.Future[Any]:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        try:
            future.set_result(work(*arguments, **named))
        except BaseException as error:
            future.set_exception(error)
        return future

    def start(self: threading.Thread) -> None:
        raise RuntimeError(f"{self.name}: calls are counted in one thread; use a pool")

    concurrent.futures.ThreadPoolExecutor.submit = submit  # type: ignore[method-assign]
    threading.Thread.start = start  # type: ignore[method-assign]


# --- points ---------------------------------------------------------------------------


def points(log: str) -> list[str]:
    """The calls in strace's log that may change something: NAME and its number."""
    found, count = [], Counter[str]()
    for line in log.splitlines():
        if call := CALL.match(line):
            name, rest = call.groups()
            count[name] += 1
            if _may_change(name, rest):
                found.append(f"{name}:{count[name]}")
    return found


def _may_change(name: str, rest: str) -> bool:
    if name in ("open", "openat", "openat2"):
        return "O_CREAT" in rest or "O_TRUNC" in rest
    if name == "ioctl":
        return "FICLONE" in rest
    if name == "write":
        return not re.match(r"\d+<(pipe|/dev/null)", rest)
    return name not in HARMLESS


def log_of(command: list[str]) -> str:
    """strace's log of an unharmed run, every call of it."""
    path = Path.cwd().parent / "strace.log"
    traced(command, "-y", "-s", "256", "-o", str(path))
    log = path.read_text("utf-8", "replace")
    path.unlink()
    return log


def kill_at(point: str, command: list[str], *, at_once: bool) -> bool:
    """Whether a child that runs the command is killed at its call NAME:NUMBER."""
    name, _, number = point.partition(":")
    inject = f"inject={name}:signal=KILL:when={number}"
    options = ("-e", f"trace={name}", "-e", inject, "-o", os.devnull)
    return traced(command, *options, at_once=at_once)


# --- the same without strace ----------------------------------------------------------


def arm(target: int) -> Iterator[int]:
    """Kill this process just before its call number `target` of a PATCHED function.

    Never, where that is -1. Returns the counter of those calls.
    """
    calls = itertools.count()

    def armed(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if next(calls) == target:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        return call

    for name in PATCHED:
        setattr(os, name, armed(getattr(os, name)))
    return calls


def patched_points(command: list[str]) -> list[str]:
    """The calls of PATCHED functions in an unharmed run, by their number."""
    run_threads_in_turn()  # as in the child: two threads may both make one folder
    real = {name: getattr(os, name) for name in PATCHED}
    calls = arm(-1)
    assert run(*command)[0] == 0
    for name, function in real.items():
        setattr(os, name, function)
    return [str(number) for number in range(next(calls))]


def kill_patched(point: str, command: list[str]) -> bool:
    """Whether a child that runs the command is killed before that call."""

    def prepare() -> None:
        run_threads_in_turn()
        arm(int(point))

    with held(command, prepare) as child:
        pass
    return os.WIFSIGNALED(ended(child))


# --- attempts -------------------------------------------------------------------------


class Place:
    """The current folder and its home, which can be put back as they were."""

    def __init__(self) -> None:
        self.here = Path.cwd().parent
        self.begun = self.here.with_name(f"{self.here.name}-begun")
        shutil.copytree(self.here, self.begun, symlinks=True)

    def put_back(self) -> None:
        """As at first."""
        shutil.rmtree(self.here)
        shutil.copytree(self.begun, self.here, symlinks=True)
        os.chdir(self.here / "project")

    def private(self) -> int:
        """How many files the registry's folder has beyond its keys."""
        files = sum(len(names) for _, _, names in os.walk(registry_url()))
        return files - len(stored())


def outcome(plan: Plan) -> Outcome:
    """What the reader sees after each kill, and how the second run ends."""
    place = Place()
    old, before = run(*plan.look), stored()
    code, said = run(*plan.command)  # and everything is imported now
    assert code == 0, said
    result = Outcome(old, run(*plan.look))
    place.put_back()
    if plan.how == "patched":
        every = patched_points(plan.command)
    else:
        every = points(log_of(plan.command))
    for point in every[::-1][plan.first :: plan.every]:  # the last is in all samples
        place.put_back()
        result.attempts.append(_attempt(plan, place, point, before))
    return result


def _attempt(plan: Plan, place: Place, point: str, before: dict[str, str]) -> Attempt:
    if plan.how == "patched":
        killed = kill_patched(point, plan.command)
    else:
        killed = kill_at(point, plan.command, at_once=plan.how == "at once")
    seen, then = run(*plan.look), stored()
    again = run(*plan.command)
    left = sorted(path.name for path in Path.cwd().glob(".*model*"))
    after = run(*plan.look)
    harm = hurt(before, then, stored())
    return Attempt(point, killed, seen, again, after, harm, left, place.private())


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    cut_small()
    asked = Plan(**json.loads(sys.argv[1]))
    logged = asked.how == "log"
    print(json.dumps(log_of(asked.command) if logged else asdict(outcome(asked))))
