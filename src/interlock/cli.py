"""The command line: one thin function for each command.

Exit codes: 0 done or passed, 2 usage or configuration, 3 rejected by a gate or by
smoke, 4 unknown (too few rows), 5 the check itself broke, 6 evidence missing, stale or
foreign, 7 verification failed, 8 conflict, 9 production has fallen below its floor.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from interlock import __version__, printing
from interlock import config as configuration
from interlock.errors import Alarm, BadConfiguration, Refusal
from interlock.home import registry_url

if TYPE_CHECKING:
    from interlock.registry.records import Registry
    from interlock.trust import Trust

Reply = tuple[dict[str, Any], str]  # what --json prints, and what people read


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. Only a bug in interlock shows a traceback."""
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    as_json = "--json" in (sys.argv if arguments is None else arguments)
    try:
        values, text = _run(_parser().parse_args(arguments))
        print(json.dumps(values, indent=2) if as_json else text, flush=True)
        return int(values.get("exit_code", 0))
    except Refusal as refusal:
        printing.print_refusal(refusal, as_json)
        return refusal.exit_code
    except BrokenPipeError:  # who read us has read enough
        sys.stdout = open(os.devnull, "w")
    except KeyboardInterrupt:
        print("interrupted: run the command again, it goes on", file=sys.stderr)
        return 130
    return 0


def _run(options: argparse.Namespace) -> Reply:
    """The command's reply; what the system refuses is a refusal as well."""
    try:
        reply: Reply = options.run(options)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise BadConfiguration(
            "files and folders that can be read and written",
            f"{error.strerror or error}: {error.filename or 'a file'}",
            "look at the path, who owns it, and the room on the disk",
        ) from error
    except UnicodeError as error:
        raise BadConfiguration(
            "names and reasons in UTF-8", str(error), "write them in UTF-8"
        ) from error
    return reply


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are refusals."""

    def error(self, message: str) -> NoReturn:
        """Raise BadConfiguration with the usage of the command."""
        usage = " ".join(self.format_usage().removeprefix("usage: ").split())
        raise BadConfiguration(usage, message, f"see {self.prog} --help")


def _smoke(options: argparse.Namespace) -> Reply:
    from interlock.home import replace
    from interlock.smoke import report, smoke

    found = smoke(Path.cwd())
    if options.out:
        replace(options.out / "smoke.json", report(found))
    return asdict(found), (
        f"{found.examples} golden examples answered within {found.worst_error:.1e}, "
        f"in {found.milliseconds:.2f} ms\n"
        f"artifact {found.address[:12]}: {found.files} files, {found.bytes:,} bytes\n"
        f"production: {found.production}"
    )


def _eval(options: argparse.Namespace) -> Reply:
    with _evaluation_installed():
        from interlock.evaluate import evaluate, raise_verdict
    outcome = evaluate(Path.cwd(), options.out, options.data, options.self_test)
    if not options.json:
        print(*outcome.sentences, *outcome.self_test, sep="\n")
    raise_verdict(outcome)
    values = {"state": outcome.state, "sentences": [*outcome.sentences]}
    values["self_test"] = [*outcome.self_test]
    return values, f"report: {options.out / 'report.html'}"


@contextmanager
def _evaluation_installed() -> Iterator[None]:
    """A refusal where what the block imports is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise BadConfiguration(
            "what an evaluation needs to be installed",
            f"no {error.name}",
            "run nox -s nightly-eval, or install interlock[evaluation]",
        ) from None


def _pin(options: argparse.Namespace) -> Reply:
    from interlock.pins import pin
    from interlock.registry.access import open_or_make

    root, url = _checkout(options)
    done = pin(open_or_make(url), root, options.path)
    size = sum(file.size for file in done.files)
    values = {"files": [file.path for file in done.files], "sent": done.sent}
    return values, (
        f"pinned {len(done.files)} files, {size:,} bytes ({done.sent:,} bytes sent)\n"
        "commit interlock.lock and .gitignore"
    )


def _fetch(options: argparse.Namespace) -> Reply:
    from interlock.pins import pinned_in, place

    root, url = _checkout(options)
    files = pinned_in(root, options.path or [root])
    count = place(root, files, url)
    values = {"files": [file.path for file in files], "fetched": count}
    return values, f"{len(files)} pinned files in place, {count} of them new"


def _plan(options: argparse.Namespace) -> Reply:
    with _evaluation_installed():
        from interlock.plan import Given, plan, text, values
    names = {each.name for each in fields(Given)}
    given = {name: value for name, value in vars(options).items() if name in names}
    found = plan(Path.cwd(), Given(**given | {"gates": tuple(options.gates)}))
    return values(found), text(found)


def _publish(options: argparse.Namespace) -> Reply:
    from interlock.publish import publish

    done = publish(Path.cwd(), options.channel, options.reason)
    manifest, release = done.manifest, done.moved.release
    lines = [
        (
            f"published {manifest.version} ({done.sent:,} bytes sent)"
            if done.new
            else f"{manifest.version} is published already: nothing to do"
        ),
        printing.moved_line(release, done.moved.new),
        f"pull it: {printing.this_command()} pull {manifest.name}@{release.channel}"
        f" {manifest.name}-model",
    ]
    values: dict[str, Any] = {"version": manifest.version, "address": manifest.address}
    values |= {"new": done.new, "release": printing.release_json(release)}
    return values, "\n".join(lines)


def _promote(options: argparse.Namespace) -> Reply:
    from interlock.promote import Past, Unpublished, attach, promote_checkout
    from interlock.registry.access import NoKey, NoRegistry
    from interlock.source import Dirty

    try:
        if options.attach_only:
            sessions = attach(Path.cwd())
            return {"attached": sessions}, f"attached: {', '.join(sessions) or 'none'}"
        moved = promote_checkout(Path.cwd(), options.channel, options.reason)
    except (Dirty, NoKey, NoRegistry, Past, Unpublished) as refusal:
        if not options.nightly:
            raise
        why = f"expected {refusal.expected}; found {refusal.found}"
        return {"release": None, "reason": why}, f"nothing promoted: {why}"
    values = {"release": printing.release_json(moved.release), "new": moved.new}
    return values, printing.moved_line(moved.release, moved.new)


def _rollback(options: argparse.Namespace) -> Reply:
    from interlock.promote import rollback
    from interlock.registry.access import signer

    registry = _registry(options)
    key = signer(registry)
    release = rollback(
        registry, options.name, options.channel, key, options.reason, options.to
    )
    return {"release": printing.release_json(release)}, printing.moved_line(
        release, True
    )


def _pull(options: argparse.Namespace) -> Reply:
    from interlock.pull import pull

    registry = _registry(options)
    version, _ = pull(registry, options.version, options.folder, options.packages)
    text = f"{version.manifest.short} is in {options.folder}, verified"
    return printing.version_json(version), text


def _verify(options: argparse.Namespace) -> Reply:
    from interlock.pull import verify, verify_registry

    if options.recompute:
        return _recompute(options)
    if Path(options.what).is_dir():
        version = verify(Path(options.what), _url(options))
    else:
        version = verify_registry(_registry(options), options.what)
    text = (
        f"{version.manifest.short}, {printing.place(version)}: "
        f"{len(version.manifest.files)} files, "
        f"{len(version.records)} signed records, all as judged"
    )
    return printing.version_json(version), text


def _recompute(options: argparse.Namespace) -> Reply:
    with _evaluation_installed():
        from interlock.recompute import recompute
    from interlock.pull import verify_registry

    registry = _registry(options)
    version = verify_registry(registry, options.what)
    again = recompute(registry, version)
    short = version.manifest.short
    lines = [f"{short}: {again.state} again, from {again.rows:,} stored predictions"]
    values = printing.version_json(version) | {"recomputed": asdict(again)}
    return values, "\n".join([*lines, *again.sentences])


def _log(options: argparse.Namespace) -> Reply:
    from interlock.registry.channels import log

    registry = _registry(options)
    channels = [*registry.trust.channels]
    if options.channel:
        registry.trust.demands(options.channel)
        channels = [options.channel]
    releases = [r for c in channels for r in log(registry, options.name, c)]
    releases.sort(key=lambda each: each.released)
    if not releases:
        raise BadConfiguration(
            f"the name of a model with a release in {' or '.join(channels)}",
            repr(options.name),
            "publish it first: nox -s publish",
        )
    values = {"releases": [printing.release_json(release) for release in releases]}
    return values, "\n\n".join(map(printing.log_entry, reversed(releases)))


def _watch(options: argparse.Namespace) -> Reply:
    with _evaluation_installed():
        from interlock.budget import watched
    from interlock.registry.access import NoRegistry

    name = options.name or configuration.read(Path.cwd()).name
    try:
        found = watched(_registry(options), name, options.night)
    except NoRegistry:
        if not options.night:
            raise
        found = None
    if found is None:
        return {"watch": None}, f"nobody watches {name}: docs/evaluation.md says how"
    if not options.json:
        print(*map(printing.night, found["trend"]), sep="\n")
    if found["alarm"]:
        raise _alarm(name, found)
    return {"watch": found}, found["sentence"]


def _alarm(name: str, watch: dict[str, Any]) -> Alarm:
    expected, nights = f"{watch['metric']} {watch['floor']} or more", watch["nights"]
    chance = f"{watch['false_alarm']:.2g} in {nights} nights"
    return Alarm(
        f"{name}@production to be at {expected}, on average over the nights",
        f"{watch['sentence']} (chance of a false alarm: {chance})",
        f"look at the data and the model; interlock rollback {name}, or promote a "
        "better version: the watch then begins anew",
    )


def _show(options: argparse.Namespace) -> Reply:
    from interlock.registry.resolve import resolve

    version = resolve(_registry(options), options.version)
    manifest = version.manifest
    lines = [
        f"{manifest.version}",
        f"  address   {manifest.address}",
        f"  tree      {manifest.tree}",
        f"  lock      {manifest.lock}",
        f"  weights   {manifest.weights}",
        *(
            f"  {each.session:<13}{each.result:<8}{each.finished:%Y-%m-%d %H:%M} UTC"
            for each in sorted(version.evidence, key=lambda each: each.finished)
        ),
        *(f"  {file.size:>13,}  {file.path}" for file in manifest.files),
    ]
    return printing.version_json(version), "\n".join(lines)


def _diff(options: argparse.Namespace) -> Reply:
    from interlock.diff import diff

    found = diff(_registry(options), options.version, options.other, Path.cwd())
    return asdict(found), printing.difference(found)


def _copy(options: argparse.Namespace) -> Reply:
    from interlock.copy import copy

    done = copy(options.source, options.destination, options.versions)
    text = (
        f"copied {len(done.versions)} versions, {done.evidence} pieces of evidence, "
        f"{done.releases} releases, {done.others} other records; "
        f"{done.chunks} chunks, {done.sent:,} bytes sent"
    )
    return asdict(done), text if done.anything else "nothing to copy: it is all there"


def _export(options: argparse.Namespace) -> Reply:
    from interlock.export import export

    done = export(_registry(options), options.version, options.file)
    manifest, state = done.version.manifest, "" if done.new else " already"
    values = {"file": str(options.file), "folder": done.folder, "new": done.new}
    text = f"{manifest.short} is in {options.file}{state}; it unpacks to {done.folder}"
    return values | printing.version_json(done.version), text


def _fsck(options: argparse.Namespace) -> Reply:
    from interlock.fsck import fsck

    report = fsck(_url(options))
    if report.findings and not options.json:
        print(*map(printing.finding_line, report.findings), sep="\n")
    report.refuse_damage()
    text = f"{report.keys:,} keys, {report.size:,} bytes read: the registry is whole"
    return asdict(report), text


def _doctor(options: argparse.Namespace) -> Reply:
    from interlock.doctor import examine

    facts, report = examine(_url(options), Path.cwd())
    return printing.report_json(facts, report), printing.report_text(facts, report)


def _policy_bucket(options: argparse.Namespace) -> Reply:
    from interlock.policy import Roles, bucket_policy

    roles = Roles(options.keeper, options.publisher, options.trainer, options.reader)
    policy = bucket_policy(_url(options), roles, create_only=not options.other_server)
    return policy, json.dumps(policy, indent=2)


def _policy_trust(options: argparse.Namespace) -> Reply:
    from interlock.policy import trust_policy

    policy = trust_policy(
        options.account, options.repository, options.environment, options.branch
    )
    return policy, json.dumps(policy, indent=2)


def _trust_show(options: argparse.Namespace) -> Reply:
    from interlock.trust import show

    return _trust(show(_registry(options)))


def _trust_add(options: argparse.Namespace) -> Reply:
    from interlock.trust import SIGNING, add

    return _trust(add(_registry(options), options.key, options.role or SIGNING))


def _trust_remove(options: argparse.Namespace) -> Reply:
    from interlock.attest.trust import ROLES
    from interlock.trust import remove

    return _trust(remove(_registry(options), options.key, options.role or ROLES))


def _trust(found: Trust) -> Reply:
    return asdict(found), printing.trust(found)


def _registry(options: argparse.Namespace) -> Registry:
    from interlock.registry.access import open_registry

    return open_registry(_url(options))


def _checkout(options: argparse.Namespace) -> tuple[Path, str]:
    """The root of the checkout here, and where its registry is."""
    from interlock.source import inspect

    root = inspect(Path.cwd()).root
    return root, _url(options, root)


def _url(options: argparse.Namespace, project: Path = Path()) -> str:
    """Where the registry is; `project` may name it."""
    return registry_url(options.registry, configuration.configured_registry(project))


@cache
def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="interlock",
        description="The only path from a commit to a production model.",
        epilog="Exit codes: " + (__doc__ or "").partition("Exit codes: ")[2],
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {__version__}"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    adding = _add_checkout_commands, _add_registry_commands, _add_copy_command
    for add in (*adding, _add_policy_commands, _add_trust_commands):
        add(commands)
    return parser


def _add_copy_command(commands: Any) -> None:
    text = "copy versions with their evidence and channels to another registry"
    copy = _command_parser(commands, "copy", _copy, text)
    copy.add_argument("source", metavar="SRC", help="the registry to copy from")
    copy.add_argument("destination", metavar="DST", help="the registry to copy to")
    copy.add_argument(
        "versions",
        metavar="NAME[@REF]",
        nargs="*",
        help="a model, a channel's log, or one commit; everything without it",
    )


def _command_parser(
    commands: Any, name: str, run: Callable[..., Reply], text: str
) -> Any:
    parser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("--json", action="store_true", help="print JSON for machines")
    parser.set_defaults(run=run)
    return parser


def _add_checkout_commands(commands: Any) -> None:
    add = _command_parser
    smoke = add(commands, "smoke", _smoke, "try the packed artifact as a host would")
    smoke.add_argument("--out", type=Path, help="folder for smoke.json")
    judge = add(commands, "eval", _eval, "evaluate the model and judge it by its gates")
    judge.add_argument("--data", default="", help="another data set than the project's")
    text = "test the gates too: what must be refused is planted, and must be refused"
    judge.add_argument("--self-test", action="store_true", help=text)
    out = Path("evaluation")
    judge.add_argument("--out", type=Path, default=out, help="folder for the report")
    _add_plan(commands)
    for name, run, text, many in (
        ("pin", _pin, "store weights or data, and pin them in interlock.lock", "+"),
        ("fetch", _fetch, "put pinned files where interlock.lock wants them", "*"),
    ):
        pins = add(commands, name, run, text)
        pins.add_argument(
            "path", nargs=many, type=Path, metavar="PATH", help="a file or a folder"
        )
        _add_registry_option(pins)
    publish = add(commands, "publish", _publish, "publish the commit, on its evidence")
    publish.add_argument("channel", nargs="?", default="staging", **_CHANNEL)
    publish.add_argument("--reason", default="", help="why, for the log")
    promote = add(
        commands,
        "promote",
        _promote,
        "release the published commit to a channel",
    )
    promote.add_argument("channel", nargs="?", default="production", **_CHANNEL)
    promote.add_argument("--reason", default="", help="why, for the log")
    promote.add_argument(
        "--nightly",
        action="store_true",
        help="leave alone, saying why, what is not published or was live before",
    )
    promote.add_argument(
        "--attach-only",
        action="store_true",
        help="attach the evidence, release nothing",
    )


def _add_plan(commands: Any) -> None:
    text = "say what gates can promise, before anything runs"
    plan = _command_parser(commands, "plan", _plan, text)
    plan.add_argument(
        "gates", nargs="*", metavar="GATE", help="instead of the project's gates"
    )
    for name, kind, metavar, meaning in (
        ("rows", int, "N", "rows of the test set"),
        ("uses", int, "H", "how often it is meant to be used"),
        ("disagreement", float, "D", "share of rows where just one model is right"),
        ("slices", int, "K", "slices of equal size, for a gate per column"),
        ("false-alarm", float, "P", "chance of a false alarm over all uses"),
        ("false-pass", float, "P", "chance that a model that is worse passes"),
        ("score", float, "S", "what the model scores now"),
        ("noise", float, "SD", "standard deviation of that score from run to run"),
        ("spread", float, "SD", "standard deviation of a row's number, or change"),
        ("measured", Path, "FILE", "metrics.json of the last evaluation"),
    ):
        plan.add_argument(f"--{name}", type=kind, metavar=metavar, help=meaning)
    plan.add_argument(
        "--fresh", action="store_true", help="each use has rows of its own"
    )


_CHANNEL: dict[str, Any] = {
    "metavar": "CHANNEL",
    "help": "the channel to release to (%(default)s)",
}


def _add_registry_option(parser: Any) -> None:
    where = "a folder or s3://BUCKET/PREFIX, in place of INTERLOCK_REGISTRY"
    parser.add_argument("--registry", default="", help=where)


def _add_registry_commands(commands: Any) -> None:
    def add(name: str, run: Callable[..., Reply], text: str) -> Any:
        parser = _command_parser(commands, name, run, text)
        _add_registry_option(parser)
        return parser

    pull = add("pull", _pull, "put a version, verified, into a folder")
    pull.add_argument("version", metavar="NAME@REF", help="a channel or a commit")
    pull.add_argument("folder", type=Path, metavar="DIR", help="the folder to make")
    pull.add_argument(
        "--packages",
        choices=("error", "warn"),
        default="error",
        help="what to do when packages differ from those it was judged with (error)",
    )
    export = add("export", _export, "put a version, verified, into one archive")
    export.add_argument("version", metavar="NAME@REF", help="a channel or a commit")
    export.add_argument(
        "file", type=Path, metavar="FILE", help="the archive to make: FILE.tar.gz"
    )
    verify = add("verify", _verify, "check every byte and signature of a version")
    verify.add_argument(
        "what", metavar="DIR|NAME@REF", help="a pulled folder, or a version"
    )
    verify.add_argument(
        "--recompute",
        action="store_true",
        help="derive the verdict of NAME@REF again, from its stored predictions",
    )
    add("doctor", _doctor, "what falls short of the promises, and what to apply")
    show = add("show", _show, "what a version is made of, and its evidence")
    show.add_argument("version", metavar="NAME@REF", help="a channel or a commit")
    diff = add("diff", _diff, "what differs between two versions, or from the checkout")
    diff.add_argument("version", metavar="NAME@A", help="a channel or a commit")
    diff.add_argument(
        "other",
        nargs="?",
        default="",
        metavar="NAME@B",
        help="another one; without it, the checkout here",
    )
    log = add("log", _log, "who released what, when, why and on which evidence")
    log.add_argument("name", metavar="NAME", help="the name of the model")
    log.add_argument("channel", nargs="?", metavar="CHANNEL", help="only this channel")
    watch = add("watch", _watch, "whether the model in production is what it was")
    watch.add_argument(
        "name", nargs="?", default="", metavar="NAME", help="the model (this project's)"
    )
    watch.add_argument(
        "--night",
        type=Path,
        metavar="DIR",
        help="the report of a night that may not be in the registry yet",
    )
    add("fsck", _fsck, "read the whole registry back, and say what is not as it was")
    rollback = add("rollback", _rollback, "release again what was live before")
    rollback.add_argument("name", metavar="NAME", help="the name of the model")
    rollback.add_argument("channel", nargs="?", default="production", **_CHANNEL)
    rollback.add_argument(
        "--to", default="", metavar="COMMIT", help="go back to this one"
    )
    rollback.add_argument("--reason", default="", help="why, for the log")


def _add_policy_commands(commands: Any) -> None:
    text = "print the policies that a registry on S3 wants"
    policy = commands.add_parser("policy", help=text, description=text)
    policies = policy.add_subparsers(metavar="bucket|trust", required=True)
    text = "who may add what to the registry, and that nobody may alter it"
    bucket = _command_parser(policies, "bucket", _policy_bucket, text)
    bucket.add_argument(
        "--registry", default="", help="s3://BUCKET/PREFIX, not INTERLOCK_REGISTRY"
    )
    arn: dict[str, Any] = {"required": True, "metavar": "ARN"}
    bucket.add_argument("--keeper", help="sets up the bucket, writes roots", **arn)
    bucket.add_argument("--publisher", help="publishes and promotes", **arn)
    arn = {"action": "append", "default": [], "metavar": "ARN"}
    bucket.add_argument("--trainer", help="adds chunks; may be repeated", **arn)
    bucket.add_argument("--reader", help="reads and lists; may be repeated", **arn)
    bucket.add_argument(
        "--other-server",
        action="store_true",
        help="leave out the one condition that only AWS knows",
    )
    text = "which GitHub jobs may take a role"
    trust = _command_parser(policies, "trust", _policy_trust, text)
    trust.add_argument("--account", required=True, help="the AWS account of the role")
    trust.add_argument(
        "--repository", required=True, metavar="OWNER@ID/NAME@ID", help="on GitHub"
    )
    trust.add_argument("--environment", default="", help="only jobs in it")
    trust.add_argument("--branch", default="", help="only runs of this branch")


def _add_trust_commands(commands: Any) -> None:
    text = "who may sign what in a registry, and the next trust root"
    trust = commands.add_parser("trust", help=text, description=text)
    parts = trust.add_subparsers(metavar="show|add|remove", required=True)
    text = "the keys, their roles, and what each channel demands"
    show = _command_parser(parts, "show", _trust_show, text)
    text = "let another key sign, by a new trust root"
    add = _command_parser(parts, "add", _trust_add, text)
    add.add_argument("key", type=Path, metavar="FILE", help="a public key, as PEM")
    text = "take roles from a key, by a new trust root; what it signed stays believed"
    remove = _command_parser(parts, "remove", _trust_remove, text)
    remove.add_argument("key", metavar="KEYID", help="the first digits of its id")
    for parser, default in ((add, "all but root"), (remove, "all")):
        parser.add_argument(
            "--role",
            action="append",
            choices=("root", "version", "evidence", "release"),
            help=f"a role; may be repeated ({default})",
        )
    for parser in (show, add, remove):
        _add_registry_option(parser)


if __name__ == "__main__":
    sys.exit(main())
