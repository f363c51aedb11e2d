"""The path of the model: smoke, nightly-eval and publish."""

import json

import nox
from nox.command import CommandFailed

from tasks import evidence
from tasks.environment import install
from tasks.verdict import told

# Leaves alone what is not published, was live before, or cannot be signed here.
_PROMOTE = ("interlock", "promote", "--nightly")


@nox.session(allow_parallel=True)
def smoke(session: nox.Session) -> None:
    """Pack the model, unpack it elsewhere, and ask it 10 golden examples."""
    with evidence.recorded(session) as record:
        install(session, ".")
        session.run("interlock", "smoke", "--out", str(record.folder))


@nox.session(name="nightly-eval", default=False)
def nightly_eval(session: nox.Session) -> None:
    """Evaluate on the full test set against the gates; move production."""
    judge = ("interlock", "eval", "--self-test", *session.posargs, "--out")
    try:
        with evidence.recorded(session) as record:
            install(session, ".")
            session.run(*judge, str(record.folder))
            left = (record.folder / "production.json").read_text("utf-8")
            for what, which in json.loads(left).items():  # production, and the model
                record.notes[f"urn:interlock:{what}"] = which
    except CommandFailed:
        session.run(*_PROMOTE, "--attach-only")
        raise
    if not session.posargs:
        session.run(*_PROMOTE)
        with told():  # of production, which the candidate's verdict is not about
            session.run("interlock", "watch", "--night", str(record.folder))


@nox.session(default=False, requires=["lint", "unit", "smoke"])
def publish(session: nox.Session) -> None:
    """Publish the commit on the evidence of lint, unit and smoke; move staging."""
    install(session, ".")
    with told():
        session.run("interlock", "publish", *session.posargs)
