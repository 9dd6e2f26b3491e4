"""Workflows, read as YAML: what they call and name is there, and they may do no more than they have to."""

import os
import re
import subprocess
import tomllib

import pytest
import yaml

import release
from address import address
from chapters import ROOT

FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FLOWS = {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in FILES}
JOBS = {(name, job): told for name, flow in FLOWS.items() for job, told in flow["jobs"].items()}
STEPS = [(name, step) for (name, _), job in JOBS.items() for step in job["steps"]]
RUNS = [(name, step["run"]) for name, step in STEPS if "run" in step]
# What the commands before make; git ignores the folders, and a file of this name is in no clone.
MADE = {".venv", "_build", "dist", "CHANGES"}
WRITES = {("ci.yml", "pages"): {"pages", "id-token"}, ("release.yml", "publish"): {"contents"}}


def paths_in(step):
    """Return the paths that a step names: in its command, and to the actions that it calls."""
    words = re.findall(r"[\w.*-]+(?:/[\w.*-]+)+", step.get("run", ""))
    given = step.get("with", {})
    return words + [line for key in ("path", "cache-dependency-path") for line in given.get(key, "").split()]


@pytest.fixture(params=sorted(FLOWS))
def flow(request):
    return FLOWS[request.param]


def test_workflows_are_those_that_contributing_tells_of():
    told = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert sorted(FLOWS) == ["ci.yml", "release.yml", "weekly.yml"]
    assert [name for name in FLOWS if f"`{name}`" not in told] == []


@pytest.mark.parametrize(("name", "command"), RUNS)
def test_targets_of_make_exist(name, command):
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    assert set(re.findall(r"\bmake ([a-z-]+)", command)) <= known


@pytest.mark.parametrize("name", sorted(FLOWS))
def test_a_workflow_calls_what_a_person_can_call(name):
    assert [run for own, run in RUNS if own == name and re.search(r"\bmake |\.ci/run", run)]


@pytest.mark.parametrize(("name", "step"), STEPS)
def test_paths_exist_or_are_made_by_the_commands_before(name, step):
    assert [path for path in paths_in(step) if path.split("/")[0] not in MADE and not (ROOT / path).exists()] == []


def test_only_official_actions_are_called_each_in_a_pinned_major_version():
    called = {step["uses"] for _, step in STEPS if "uses" in step}
    assert [action for action in called if not re.fullmatch(r"actions/[a-z-]+@v\d+", action)] == []


def test_an_action_has_one_version_in_all_workflows():
    called = {step["uses"] for _, step in STEPS if "uses" in step}
    assert len({action.split("@")[0] for action in called}) == len(called)


def test_a_workflow_may_only_read_where_a_job_is_not_given_more(flow):
    assert flow["permissions"] == {"contents": "read"}


def test_jobs_write_only_what_they_publish():
    given = {key: {what for what, may in job["permissions"].items() if may == "write"} for key, job in JOBS.items()
             if "permissions" in job}  # fmt: skip
    assert given == WRITES


@pytest.mark.parametrize("key", sorted(WRITES))
def test_a_job_that_may_write_installs_nothing(key):
    assert [step for step in JOBS[key]["steps"] if re.search(r"\bpip\b|\bmake\b|setup-python", str(step))] == []


@pytest.mark.parametrize("key", sorted(WRITES))
def test_a_job_that_may_write_waits_for_one_that_tests(key):
    before = JOBS[key[0], JOBS[key]["needs"]]
    assert "bash .ci/run" in [step.get("run") for step in before["steps"]]


def test_credentials_are_kept_only_where_they_are_used():
    kept = {
        key for key, job in JOBS.items() for step in job["steps"]
        if step.get("uses", "").startswith("actions/checkout") and step.get("with", {}).get("persist-credentials", True)
    }  # fmt: skip
    assert kept == {("release.yml", "publish")}


def test_no_secret_is_asked_for():
    assert [path.name for path in FILES if "secrets." in path.read_text(encoding="utf-8")] == []


def test_two_runs_of_a_workflow_do_not_meet(flow):
    assert flow["concurrency"]["group"]


@pytest.mark.parametrize("key", sorted(JOBS))
def test_a_job_has_a_limit_of_time(key):
    assert 0 < JOBS[key]["timeout-minutes"] <= 120


def test_the_book_is_deployed_from_the_branch_alone():
    # A push to any other branch starts nothing, and a pull request deploys nothing.
    assert FLOWS["ci.yml"][True]["push"] == {"branches": [address()[1]]}
    assert JOBS["ci.yml", "pages"]["if"] == "github.event_name == 'push'"


def test_a_deployment_is_not_broken_off():
    cancel = FLOWS["ci.yml"]["concurrency"]["cancel-in-progress"]
    assert cancel == "${{ github.event_name == 'pull_request' }}"
    assert JOBS["ci.yml", "pages"]["concurrency"]["cancel-in-progress"] is False


def test_what_is_handed_to_pages_is_the_built_book():
    given = [step["with"]["path"] for _, step in STEPS if step.get("uses", "").startswith("actions/upload-pages")]
    assert given == ["_build/html"]


def test_weekly_runs_the_oldest_and_newest_python_that_are_admitted():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [re.search(r":: (3\.\d+)$", line) for line in project["classifiers"]]
    tested = [match[1] for match in named if match]
    assert JOBS["weekly.yml", "torch"]["strategy"]["matrix"]["python-version"] == [tested[0], tested[-1]]


def test_weekly_runs_the_oldest_torch_that_is_admitted():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    bounds = [line.replace(">=", "==") + ".*" for line in project["dependencies"] if line.startswith("torch")]
    included = {one["torch"]: one["versions"] for one in JOBS["weekly.yml", "torch"]["strategy"]["matrix"]["include"]}
    assert included["oldest"].split() == bounds


def test_weekly_has_the_python_of_colab():
    trial = (ROOT / "tests" / "colab" / "trial.py").read_text(encoding="utf-8")
    given = [step["with"]["python-version"] for step in JOBS["weekly.yml", "colab"]["steps"] if "python" in str(step)]
    assert given == [re.search(r'^PYTHON = "python(3\.\d+)"', trial, re.M)[1]]


# ---- releases ----


@pytest.fixture
def project(tmp_path):
    """A package of version 1.2.0 whose changes are told."""
    (tmp_path / "aecore").mkdir()
    (tmp_path / "aecore" / "__init__.py").write_text('"""Doc."""\n\n__version__ = "1.2.0"\n', encoding="utf-8")
    text = "# Changes\n\n## 1.2.0 (2026-01-02)\n\n- New.\n\n### Details\n\n- More.\n\n## 1.1.0\n\n- Old.\n"
    (tmp_path / "CHANGELOG.md").write_text(text, encoding="utf-8")
    return tmp_path


def test_the_changes_of_a_release_are_its_part_of_the_changelog(project):
    assert release.changes("v1.2.0", project) == "- New.\n\n### Details\n\n- More."


@pytest.mark.parametrize("tag", ["v1.1.0", "1.2.0", "v1.2.0rc1"])
def test_a_tag_that_is_not_the_version_is_refused(project, tag):
    with pytest.raises(ValueError, match=r"tag: wanted v1\.2\.0, .*, got"):
        release.changes(tag, project)


@pytest.mark.parametrize("text", ["# Changes\n", "## 1.2.0\n\n## 1.1.0\n\n- Old.\n", "## 1.2.01\n\n- Other.\n"])
def test_a_release_whose_changes_are_not_told_is_refused(project, text):
    (project / "CHANGELOG.md").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"nothing below a heading ## 1\.2\.0"):
        release.changes("v1.2.0", project)


def test_the_version_that_is_released_is_that_of_the_package():
    import aecore

    assert release.version() == aecore.__version__


def git(folder, *words):
    # Neither the settings of whoever runs the tests, nor a hook's variables.
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    command = words if words[0] == "bash" else ("git", *words)
    return subprocess.run(command, cwd=folder, env=env, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def clone(tmp_path):
    """A clone with one commit of a bare repository beside it, and editions made for it."""
    git(tmp_path, "init", "--quiet", "--bare", "origin")
    git(tmp_path, "init", "--quiet", "clone")
    folder = tmp_path / "clone"
    (folder / "source.md").write_text("Source", encoding="utf-8")
    git(folder, "add", "source.md")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", "Source")
    git(folder, "remote", "add", "origin", str(tmp_path / "origin"))
    for kind in ("reader", "student", "instructor"):
        (tmp_path / "editions" / kind).mkdir(parents=True)
        (tmp_path / "editions" / kind / "01_a.ipynb").write_text(f"{kind}, first", encoding="utf-8")
    return folder


def push(clone, tag):
    git(clone, "bash", str(ROOT / ".ci" / "push-editions"), str(clone.parent / "editions"), tag)


def on_branch(clone, *words):
    return git(clone.parent / "origin", *words).splitlines()


def test_the_branch_of_the_editions_holds_readers_and_students_notebooks_alone(clone):
    push(clone, "v1.2.0")
    files = on_branch(clone, "ls-tree", "-r", "--name-only", "editions")
    assert files == ["README.md", "reader/01_a.ipynb", "student/01_a.ipynb"]


def test_the_branch_of_the_editions_has_no_source_among_its_ancestors(clone):
    push(clone, "v1.2.0")
    assert on_branch(clone, "log", "--format=%s", "editions") == ["The notebooks of v1.2.0"]


def test_a_second_release_is_a_commit_on_the_first(clone):
    push(clone, "v1.2.0")
    renamed = clone.parent / "editions" / "reader" / "01_a.ipynb"
    renamed.rename(renamed.with_name("01_b.ipynb"))
    push(clone, "v1.3.0")
    assert on_branch(clone, "log", "--format=%s", "editions") == ["The notebooks of v1.3.0", "The notebooks of v1.2.0"]
    assert "reader/01_a.ipynb" not in on_branch(clone, "ls-tree", "-r", "--name-only", "editions")


def test_pushing_the_editions_leaves_the_clone_as_it_was(clone):
    before = git(clone, "status", "--short", "--branch"), git(clone, "rev-parse", "HEAD")
    push(clone, "v1.2.0")
    assert (git(clone, "status", "--short", "--branch"), git(clone, "rev-parse", "HEAD")) == before
    assert len(git(clone, "worktree", "list").splitlines()) == 1


# ---- beside the workflows ----


def test_the_form_for_mistakes_asks_for_what_the_doctor_prints():
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text(encoding="utf-8"))
    fields = {field["id"]: field for field in form["body"]}
    assert "aecore doctor" in fields["doctor"]["attributes"]["label"]
    assert {"name", "description", "body"} <= form.keys()


def test_dependabot_watches_the_actions():
    told = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text(encoding="utf-8"))
    assert [one["package-ecosystem"] for one in told["updates"]] == ["github-actions"]
