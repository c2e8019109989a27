"""Forward-pass scores over a Graph agree with the same scores over the zoo's own modules.

The zoo's detector runs its own forward; only its convolutions are exchanged for the Graph's (with their batch norms),
by the module paths that tracing wrote down, so that both have the same weights.
"""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from nas.scores import SCORES
from nas.scores.forward import observe, watch
from nas.scores.forward_net import GraphNet, gaussian, images, seeded
from nas.scores.synflow import synflow, synflow_of
from nas.scores.zen import zen_of
from nas.scores.zico import BATCHES, zico_of
from search_spaces.ops import CONV_KINDS
from zoo.factory import build
from zoo.graphs.to_torch import ACTIVATIONS

MODELS = ("yolox-nano", "damo-yolo-ns", pytest.param("yolov7", marks=pytest.mark.slow))
PX = 64


class ZooNet(torch.nn.Module):  # type: ignore[name-defined,misc]
    """A zoo detector, folded, that walks like a ``GraphNet`` and has its weights."""

    def __init__(self, model: str, twin: GraphNet) -> None:
        super().__init__()
        self.graph = twin.graph
        self.detector = build(model).eval().fuse()
        self.places: dict[int, Any] = {}
        for index, op in enumerate(self.graph.ops):
            if op.kind in CONV_KINDS:
                owner, _, name = op.name.rpartition(".")
                key = str(index)
                mine = [twin.layers[key], *([twin.norms[key]] if key in twin.norms else [])]
                self.places[index] = torch.nn.Sequential(*mine)
                was = self.detector.get_submodule(op.name)
                assert was.weight.shape == twin.layers[key].weight.shape
                setattr(self.detector.get_submodule(owner), name, self.places[index])

    def walk(self, image: Any, visit: Any = None) -> list[Any]:
        """The zoo's own forward, with hooks where the graph has convolutions."""

        def hook(index: int) -> Any:
            op = self.graph.ops[index]
            return lambda module, given, made: visit(index, op, made, ACTIVATIONS[op.act](made))

        handles = [place.register_forward_hook(hook(index)) for index, place in self.places.items()] if visit else []
        outputs = self.detector.raw_outputs(self.detector(image))
        for handle in handles:
            handle.remove()
        return outputs


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def graph(model: str) -> Any:
    found = build(model).graph(PX)
    assert not [op for op in found if op.kind == "act"], "a lone activation would need a hook of its own"
    return found


def test_watching_scores(model: str, graph: Any) -> None:
    observations = {name: score.observation for name, score in SCORES.items() if score.observation is not None}
    ours = observe(observations, graph, PX, seed=3)
    for batch in {observation.batch for observation in observations.values()}:
        with seeded(3):
            twin = GraphNet(graph).train()
            image = images(graph, batch, PX)
        observers = {name: o.make(graph, PX, 3) for name, o in observations.items() if o.batch == batch}
        watch(ZooNet(model, twin).train(), image, list(observers.values()))
        for name, observer in observers.items():
            assert observer.value() == pytest.approx(ours[name].value, rel=1e-5), name


def test_zen(model: str, graph: Any) -> None:
    with seeded(1):
        twin = GraphNet(graph)
        gaussian(twin)
        twin.train()
        image, noise = images(graph, 2, PX), images(graph, 2, PX)
    assert zen_of(ZooNet(model, twin).train(), image, noise) == pytest.approx(zen_of(twin, image, noise), rel=1e-5)


def test_synflow(model: str, graph: Any) -> None:
    with seeded(2):
        twin = GraphNet(graph, with_bn=False).double()
    zoo = ZooNet(model, twin)
    for parameter in zoo.detector.parameters():
        parameter.data = parameter.data.double()
    # Learned scales of the zoo's head are ones there as in the graph.
    theirs = synflow_of(zoo, PX)
    assert torch.tensor(theirs, dtype=torch.float64).log().item() == pytest.approx(
        synflow(graph, PX, 2).value, rel=1e-9
    )


def test_zico(model: str, graph: Any) -> None:
    with seeded(4):
        twin = GraphNet(graph).train()
        batches = [images(graph, 2, PX) for _ in range(BATCHES)]
    values = []
    for net in (twin, ZooNet(model, twin).train()):
        with seeded(5):
            values.append(zico_of(net, batches))
    assert values[1] == pytest.approx(values[0], rel=1e-3)
