"""Which process of pytest-xdist runs which test."""

from __future__ import annotations

from xdist.scheduler.loadscope import LoadScopeScheduling

#: Files that export a model. The first export of a process takes several times as long as later ones.
EXPORTING = {f"tests/{name}.py" for name in (
    "contract/test_story", "docs/test_commands", "export/test_bundle", "export/test_onnx",
    "pipelines/test_retrain", "serving/test_recommend")}


class ByFile(LoadScopeScheduling):
    """A file stays together, so what its fixtures make is made once; so do those that export."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "exporting" if file in EXPORTING else file
