"""The server is as strict as the one it stands for; the client is KFP's own, as it comes."""

import json

import kfp
import kfp_server_api
import pytest
from kfp_server_api.exceptions import ApiException

from tests.contract.schema import BadRequest, parse


@pytest.fixture
def plain(server):
    """``kfp.Client`` without anything of relrec's."""
    return kfp.Client(host=server.url)


def refused(status, call, *args, **kwargs):
    with pytest.raises(ApiException) as caught:
        call(*args, **kwargs)
    assert caught.value.status == status
    return caught.value.body


def test_plain_client_uploads_versions_runs_and_deletes(plain, server, yaml, submission, tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(yaml)
    pipeline = plain.upload_pipeline(str(path), "mine", description="what for")
    assert plain.get_pipeline_id("MINE") == pipeline.pipeline_id, "names are compared without case"
    version = plain.upload_pipeline_version(str(path), "v2", pipeline_id=pipeline.pipeline_id)
    refused(409, plain.upload_pipeline_version, str(path), "v2", pipeline_id=pipeline.pipeline_id)
    refused(409, plain.upload_pipeline, str(path), "mine")
    experiment = plain.create_experiment("e")
    assert plain.create_experiment("e").experiment_id == experiment.experiment_id
    run = plain.run_pipeline(experiment.experiment_id, "r", params=submission.arguments,
                             pipeline_id=pipeline.pipeline_id, version_id=version.pipeline_version_id)
    plain.terminate_run(run.run_id)
    assert plain.get_run(run.run_id).state == "CANCELING"
    plain.archive_run(run.run_id)
    plain.delete_run(run.run_id)
    refused(404, plain.get_run, run.run_id)
    plain.delete_pipeline_version(pipeline.pipeline_id, version.pipeline_version_id)
    plain.delete_pipeline(pipeline.pipeline_id)
    assert not plain.list_pipelines().pipelines


def test_inline_runs_and_bad_parameters(plain, submission, tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(submission.yaml)
    experiment = plain.create_experiment("e").experiment_id
    assert plain.run_pipeline(experiment, "r", str(path), dict(submission.arguments)).state == "PENDING"
    refused(400, plain.run_pipeline, experiment, "r", str(path), {"dataset": "x"})
    refused(400, plain.run_pipeline, experiment, "r", str(path), submission.arguments | {"other": 1})
    refused(400, plain.run_pipeline, experiment, "r", str(path), submission.arguments | {"seed": "one"})
    refused(404, plain.run_pipeline, "nowhere", "r", str(path), dict(submission.arguments))


def test_recurring_runs(plain, submission, tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(submission.yaml)
    experiment = plain.create_experiment("e").experiment_id

    def create(**changes):
        settings = {"cron_expression": "0 0 3 * * *", "pipeline_package_path": str(path),
                    "params": dict(submission.arguments)} | changes
        return plain.create_recurring_run(experiment, "nightly", **settings)

    made = create(start_time="2026-12-01T00:00:00Z", no_catchup=True)
    assert (made.status, made.max_concurrency, made.no_catchup) == ("ENABLED", "1", True)
    plain.disable_recurring_run(made.recurring_run_id)
    assert plain.get_recurring_run(made.recurring_run_id).status == "DISABLED"
    plain.enable_recurring_run(made.recurring_run_id)
    assert create().recurring_run_id != made.recurring_run_id, "names are not unique"
    assert len(plain.list_recurring_runs().recurring_runs) == 2
    refused(400, create, max_concurrency=11)
    refused(400, create, max_concurrency=0)
    refused(400, create, cron_expression="0 3 * *")
    refused(400, create, cron_expression="0 0 25 * * *")
    refused(400, create, cron_expression="CRON_TZ=Europe/Berlin 0 3 * * *")
    refused(400, create, start_time="tomorrow")


def test_paging_holds_filter_and_order(plain):
    for index in range(5):
        plain.create_experiment(f"e{index}")
    query = {"page_size": 2, "sort_by": "created_at desc"}
    first = plain.list_experiments(**query)
    second = plain.list_experiments(page_token=first.next_page_token, **query)
    last = plain.list_experiments(page_token=second.next_page_token, **query)
    names = [entry.display_name for page in (first, second, last) for entry in page.experiments]
    assert names == ["e4", "e3", "e2", "e1", "e0"]
    assert not last.next_page_token
    assert first.total_size == 5
    refused(400, plain.list_experiments, page_token=first.next_page_token, page_size=2, sort_by="name")
    refused(400, plain.list_experiments, page_token="nonsense")
    refused(400, plain.list_experiments, sort_by="colour")
    by_name = json.dumps({"predicates": [{"operation": "IS_SUBSTRING", "key": "name", "stringValue": "E3"}]})
    refused(400, plain.list_experiments, filter=json.dumps(
        {"predicates": [{"operation": 1, "key": "colour", "stringValue": "x"}]}))
    assert plain.list_experiments(filter=by_name).total_size == 1


@pytest.mark.parametrize(("body", "kind", "message"), [
    ({"display_name": "r", "colour": "red"}, "V2beta1Run", "colour"),
    ({"display_name": 7}, "V2beta1Run", "a string"),
    ({"state": "GOING"}, "V2beta1Run", "one of"),
    ({"created_at": "2026-01-01T00:00:00"}, "V2beta1Run", "zone"),
    ({"no_catchup": "yes"}, "V2beta1RecurringRun", "a boolean"),
    ({"trigger": {"cron_schedule": {"cron": "0 3 * * *", "timezone": "UTC"}}}, "V2beta1RecurringRun",
     "timezone"),
    ({"trigger": []}, "V2beta1RecurringRun", "an object"),
    ({"runtime_config": {"parameters": [1]}}, "V2beta1Run", "an object"),
    ({"run_details": {"task_details": {}}}, "V2beta1Run", "a list"),
])
def test_wrong_shapes_are_refused(body, kind, message):
    with pytest.raises(BadRequest, match=message):
        parse(json.dumps(body).encode(), kind)


def test_yaml_that_is_no_pipeline_is_refused(plain, tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("pipelineInfo: {name: x}\ncolour: red\n")
    assert b"colour" in refused(400, plain.upload_pipeline, str(path), "x").encode()


def test_unknown_paths_are_404(server, plain):
    api = kfp_server_api.RunServiceApi(plain._run_api.api_client)
    refused(404, api.run_service_retry_run, "x")
