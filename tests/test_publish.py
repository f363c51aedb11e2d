"""publish: from a commit with evidence to a version."""

from tests.conftest import Project


def test_the_path(project: Project) -> None:
    """A checked commit is published, pulled, verified and logged."""
    commit = project.publish()
    assert "published toy@" in commit.out
    answer = project.run("pull", "toy@staging", "model")
    assert answer.code == 0, answer.err
    assert project.run("verify", "model").code == 0
