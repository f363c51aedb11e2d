"""The path of the model: smoke, nightly-eval and publish."""

import nox

from tasks import evidence
from tasks.environment import install


@nox.session(allow_parallel=True)
def smoke(session: nox.Session) -> None:
    """Pack the model, unpack it elsewhere, and ask it 10 golden examples."""
    with evidence.recorded(session) as record:
        install(session)
        session.run("interlock", "smoke", "--out", str(record.folder))


@nox.session(name="nightly-eval", default=False)
def nightly_eval(session: nox.Session) -> None:
    """Evaluate on the full test set against the gates; move production."""
    try:
        with evidence.recorded(session) as record:
            install(session)
            session.run("interlock", "eval", "--out", str(record.folder), *session.posargs)
    finally:
        # The evidence is attached to the published version whatever it says.
        session.run("interlock", "promote", "--nightly", success_codes=range(9))


@nox.session(default=False, requires=["lint", "unit", "smoke"])
def publish(session: nox.Session) -> None:
    """Publish the commit on the evidence of lint, unit and smoke; move staging."""
    install(session)
    session.run("interlock", "publish", *session.posargs)
