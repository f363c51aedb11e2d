"""What needs real S3 servers, all on loopback; only this repository has it."""

import nox

from tasks import network
from tasks.checks import SAME_EVERYWHERE
from tasks.environment import install


@nox.session(default=False)
def servers(session: nox.Session) -> None:
    """The registry on real S3 servers and a faulty line; the policies, judged."""
    install(session, "--editable", ".")
    network.close(session)
    where = session.posargs or ("tests/registry", "tests/doctor", "tests/policies")
    session.run(
        "pytest", "--numprocesses=2", "--durations=5", *where, env=SAME_EVERYWHERE
    )


@nox.session(name="s3-server", default=False)
def s3_server(session: nox.Session) -> None:
    """Start a real S3 server on loopback, to try the registry on S3 with."""
    install(session)
    session.run("python", "tests/servers.py", *session.posargs)
