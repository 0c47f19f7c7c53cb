"""`fnqueue schedule export`: a template that CloudFormation's own linter accepts, and that says what sync would."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import yaml

SHOP = """
from fnqueue import FnQueue
from fnqueue.policies import from_schedule

fn = FnQueue(url="sqlite:///q.db")

@fn.schedule("cron(0 9 ? * MON-FRI *)", timezone="Europe/Berlin", name="morning", args=("secret-word",))
@fn.schedule("rate(5 minute)", name="a_b", flexible_minutes=15)
@fn.schedule("rate(1 hour)", name="a-b", queue="orders.fifo", group="7", group_clear=True)
@fn.schedule("at(2199-01-01T00:00:00)", name="no", delete_after_completion=True)
@fn.schedule("at(2001-01-01T00:00:00)", name="over")
@fn.task(policy=from_schedule)
def report(word: str = "") -> None: ...
"""


@pytest.fixture
def export(project, fnqueue):
    project(shop=SHOP)
    assert fnqueue("schedule", "sync", "--app", "shop").exit_code == 0

    def run(*options):
        done = fnqueue("schedule", "export", "--format", "cloudformation", "--app", "shop", *options)
        assert done.exit_code == 0, done.output
        return done

    return run


def lint(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    linter = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run(
        [linter, "--include-checks", "W", "I", "--regions", "eu-west-1", "--", name],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_the_template_is_one_to_cloudformations_linter_as_yaml_and_as_json(export, tmp_path):
    assert lint(tmp_path, "template.yaml", export().stdout) == ""
    assert lint(tmp_path, "template.json", export("--json").stdout) == ""
    broken = export().stdout.replace("FlexibleTimeWindow", "FlexibleWindow")
    assert "FlexibleWindow" in lint(tmp_path, "broken.yaml", broken), "so that the test can fail"


def test_yaml_and_json_say_the_same(export):
    one, other = yaml.safe_load(export().stdout), json.loads(export("--json").stdout)
    for document in (one, other):
        for resource in document["Resources"].values():
            resource["Properties"].get("Target", {}).pop("Input", None)  # each sealing differs
    assert one == other


def test_role_and_queues_are_parameters_and_the_rest_is_as_sync_has_it(export):
    document = json.loads(export("--json").stdout)
    assert set(document["Parameters"]) == {"RoleArn", "DeadLetterArn", "QueueArnDefault", "QueueArnOrdersFifo"}
    resources = document["Resources"]
    names = {resource["Properties"]["Name"]: resource["Properties"] for resource in resources.values()}
    assert set(names) == {"fnqueue-default", "morning", "a_b", "a-b", "no"}, "and none that is over"
    assert len(resources) == 5, "a_b and a-b are two"
    morning = names["morning"]
    assert morning["ScheduleExpression"] == "cron(0 9 ? * MON-FRI *)"
    assert morning["GroupName"] == {"Ref": "ScheduleGroup"}
    assert (morning["Target"]["Arn"], morning["Target"]["RoleArn"]) == ({"Ref": "QueueArnDefault"}, {"Ref": "RoleArn"})
    assert morning["Target"]["Input"].startswith("fqs1.")
    assert names["a_b"]["ScheduleExpression"] == "rate(5 minutes)"
    assert names["a-b"]["Target"]["SqsParameters"] == {"MessageGroupId": "7"}
    assert "secret-word" not in json.dumps(document)


def test_a_rate_starts_when_the_stack_will_be_there(export):
    now = datetime.now().astimezone()
    done = export("--json", "--deploy-within", "30")
    starts = [r["Properties"].get("StartDate") for r in json.loads(done.stdout)["Resources"].values()]
    for start in filter(None, starts):
        assert timedelta(minutes=29) < datetime.fromisoformat(start) - now < timedelta(minutes=100)
    assert "a rate() starts after 30 minutes" in done.stderr
    assert "cannot have no deleted after completion" in done.stderr


def test_what_the_store_does_not_have_yet_is_not_exported(project, fnqueue):
    project(shop=SHOP)
    done = fnqueue("schedule", "export", "--app", "shop")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "run fnqueue schedule sync first" in done.stderr
