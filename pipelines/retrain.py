"""The retrain pipeline: tables in, published recommender out.

::

    ingest -> temporal_split -> load_champion -> watch_data -> build_graph -> build_negative_queue
           -> train -> evaluate -> export_onnx -> publish
"""

from components.build_graph.component import build_graph
from components.build_negative_queue.component import build_negative_queue
from components.evaluate.component import evaluate
from components.export_onnx.component import export_onnx
from components.ingest.component import ingest
from components.load_champion.component import load_champion
from components.publish.component import publish
from components.temporal_split.component import temporal_split
from components.train.component import train
from components.watch_data.component import watch_data


def retrain(
    dataset: str,
    task: str,
    registry: str,
    as_of: str = "",
    as_of_required: bool = False,
    source_fingerprint: str = "",
    checkpoint_root: str = "",
    run_name: str = "",
    who: str = "",
    settings_digest: str = "",
    seed: int = 0,
    split_config: str = "{}",
    watch_config: str = "{}",
    graph_config: str = "{}",
    queue_config: str = "{}",
    model_config: str = "{}",
    train_config: str = "{}",
    evaluate_config: str = "{}",
    gate_config: str = "{}",
    export_config: str = "{}",
):
    """Retrain a graph recommender on relational tables and publish it if it is better.

    Args:
        dataset: RelBench-v3 folder, URI of one (gs://, s3://) or Hub spec.
        task: Recommendation task of the dataset.
        registry: Directory or URI (gs://, s3://) of the model registry.
        as_of: Logical date; empty for the dataset's own windows.
        as_of_required: Refuse to run without one: for schedules, which supply it when they fire.
        source_fingerprint: Digest of the source files, so that unchanged data hits the cache.
        checkpoint_root: Directory or URI for resume states of training. A cluster needs a URI, such as
            gs://bucket/states; without one a lost node starts training over.
        run_name: Name of the run in the registry's log.
        who: Who runs it, for the registry's log; empty for the user and host of the publish step.
        settings_digest: Digest of the settings that training depends on; tells a repeated run from
            another attempt at the same date.
        seed: Seed of queue draws and bootstrap (training has its own in train_config).
        split_config: JSON of SplitConfig.
        watch_config: JSON of WatchConfig.
        graph_config: JSON of GraphConfig.
        queue_config: JSON of QueueConfig.
        model_config: JSON of ModelConfig.
        train_config: JSON of TrainConfig.
        evaluate_config: JSON of EvaluateConfig.
        gate_config: JSON of GateConfig.
        export_config: JSON of ExportConfig.

    Returns:
        Step name to its task. ``pipelines.compiling`` makes a Kubeflow pipeline of this
        function and gives every task its resources.
    """
    tables = ingest(
        dataset=dataset, task=task, as_of=as_of, as_of_required=as_of_required,
        source_fingerprint=source_fingerprint,
    )
    snapshot = tables.outputs["snapshot"]
    windows = temporal_split(snapshot=snapshot, config=split_config)
    split = windows.outputs["split"]
    reigning = load_champion(split=split, registry=registry, settings_digest=settings_digest)
    # What it reads is not among its inputs, so no cache can know whether that has changed.
    reigning.set_caching_options(False)
    watched = watch_data(
        snapshot=snapshot, split=split, champion=reigning.outputs["champion"], config=watch_config
    )
    edges = build_graph(snapshot=snapshot, split=split, config=graph_config)
    graph = edges.outputs["graph"]
    candidates = build_negative_queue(split=split, graph=graph, config=queue_config, seed=seed)
    queue = candidates.outputs["negative_queue"]
    trained = train(
        graph=graph, split=split, negative_queue=queue, champion=reigning.outputs["champion"],
        model_config=model_config, train_config=train_config, checkpoint_root=checkpoint_root,
    )
    # Nothing of it is read there, but a run that stops for its data must not train first.
    trained.after(watched)
    checkpoint = trained.outputs["checkpoint"]
    judged = evaluate(
        checkpoint=checkpoint, graph=graph, split=split, negative_queue=queue,
        data_watch=watched.outputs["data_watch"], champion=reigning.outputs["champion"],
        config=evaluate_config, gate_config=gate_config, seed=seed,
    )
    report = judged.outputs["report"]
    exported = export_onnx(
        checkpoint=checkpoint, graph=graph, split=split, report=report, config=export_config
    )
    published = publish(
        bundle=exported.outputs["bundle"], report=report, data_watch=watched.outputs["data_watch"],
        registry=registry, run_name=run_name, who=who, settings_digest=settings_digest,
    )
    return {
        "ingest": tables, "temporal_split": windows, "load_champion": reigning,
        "watch_data": watched, "build_graph": edges, "build_negative_queue": candidates, "train": trained,
        "evaluate": judged, "export_onnx": exported, "publish": published,
    }
