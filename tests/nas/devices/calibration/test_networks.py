"""The designed set: held-out networks are not fitted."""

from __future__ import annotations

import json

import pytest

from nas.devices.calibration.networks import Design, designed_networks

pytest.importorskip("onnxruntime")


def test_no_judge_is_fitted() -> None:
    tasks = designed_networks(Design(models=("damo-yolo-ns", "damo-yolo-t")), 0)
    names = [task.name for task in tasks]
    assert len(set(names)) == len(names)
    fitted, judges = ([task.make().graph for task in tasks if task.held_out is side] for side in (False, True))
    known = {json.dumps(graph.to_json() | {"name": ""}) for graph in fitted}
    assert len(judges) >= 12
    assert not [graph.name for graph in judges if json.dumps(graph.to_json() | {"name": ""}) in known]
