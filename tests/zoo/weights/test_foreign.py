"""Checkpoints are read whole, and a file that attacks its reader is refused in one line."""

from __future__ import annotations

import hashlib
import io
import pickle
import random
import struct
import sys
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workbench.errors import BadInput

torch = pytest.importorskip("torch")

from tests.zoo.weights import official_files as official
from zoo.weights import foreign
from zoo.weights import safe_pickle as inert_pickle
from zoo.weights.foreign import check_finite, read_foreign


def small() -> dict[str, Any]:
    """A convolution, its norm, a buffer and a list of layers, as official files name them."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    return {
        "model.0.conv.weight": normal(4, 3, 3, 3),
        "model.0.bn.weight": normal(4),
        "model.0.bn.bias": normal(4),
        "model.0.bn.running_mean": normal(4),
        "model.0.bn.running_var": normal(4) ** 2,
        "model.0.bn.num_batches_tracked": np.int64(7),
        "model.1.anchors": normal(3, 2),
        "model.1.m.0.bias": normal(5),
    }


def assert_same(read: dict[str, torch.Tensor], wanted: dict[str, Any], half: bool = False) -> None:
    tensors = official.as_tensors(wanted)
    assert set(read) == set(tensors)
    for name, tensor in tensors.items():
        stored = tensor.half() if half and tensor.is_floating_point() else tensor
        assert read[name].dtype == stored.dtype and torch.equal(read[name], stored), name


# ---- every layout


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("key", ["model", "state_dict", "ema", None])
def test_plain_tensors(tmp_path: Path, key: str | None, legacy: bool) -> None:
    path = tmp_path / "a.pth"
    official.save_plain(path, small(), key, legacy, epoch=299, best=0.5, note="x", done=True)
    read = read_foreign(path)
    assert_same(read.tensors, small())
    assert read.source == (key or "(top level)")
    assert read.facts == {"epoch": 299, "best": 0.5, "note": "x", "done": True}
    assert read.classes is None
    assert read.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("legacy", [False, True])
def test_rtdetr_prefers_the_averaged_weights(tmp_path: Path, legacy: bool) -> None:
    official.save_rtdetr(tmp_path / "a.pth", small(), legacy)
    read = read_foreign(tmp_path / "a.pth")
    assert read.source == "ema.module"
    assert_same(read.tensors, small())


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("ema", [False, True])
@pytest.mark.parametrize(
    ("module", "cls", "names"),
    [("models.yolo", "Model", ["cat", "dog"]), ("ultralytics.nn.tasks", "DetectionModel", {0: "cat", 1: "dog"})],
)
def test_pickled_models(tmp_path: Path, module: str, cls: str, names: Any, ema: bool, legacy: bool) -> None:
    path = tmp_path / "a.pt"
    official.save_pickled_model(path, small(), module, cls, names=names, ema=ema, legacy=legacy)
    with pytest.raises((ImportError, AttributeError, RuntimeError)):
        torch.load(path, weights_only=False)  # the class really is in the pickle, and is not here
    before = set(sys.modules)  # ONNX Runtime's tools, if they were used, have put a folder "models" on the path
    read = read_foreign(path)
    assert read.source == ("ema" if ema else "model")
    assert read.classes == ("cat", "dog")
    assert read.facts["version"] == "8.1.0" and read.facts["epoch"] == -1 and "best_fitness" not in read.facts
    assert_same(read.tensors, small(), half=True)
    assert not {name.partition(".")[0] for name in set(sys.modules) - before} & {"ultralytics", "models"}


def test_names_are_those_of_state_dict(tmp_path: Path) -> None:
    """On torch's own layers: shared modules, absent biases and buffers that are not persistent."""
    shared = torch.nn.Conv2d(2, 2, 1, bias=False)
    model = torch.nn.Sequential(
        OrderedDict(a=shared, b=torch.nn.BatchNorm2d(2, affine=False), c=torch.nn.Sequential(shared))
    )
    model.register_buffer("scratch", torch.ones(1), persistent=False)
    model.register_buffer("kept", torch.ones(1))
    model.append(torch.nn.MultiheadAttention(4, 2))
    torch.save(model, tmp_path / "a.pt")
    read = read_foreign(tmp_path / "a.pt").tensors
    assert list(read) == list(model.state_dict())
    assert all(torch.equal(read[name], value) for name, value in model.state_dict().items())
    assert read["a.weight"].data_ptr() == read["c.0.weight"].data_ptr()


@pytest.mark.parametrize("legacy", [False, True])
def test_types_views_and_empty_tensors(tmp_path: Path, legacy: bool) -> None:
    kinds = [
        "float64",
        "bfloat16",
        "float16",
        "float8_e4m3fn",
        "int8",
        "uint8",
        "uint16",
        "uint32",
        "int32",
        "int16",
        "bool",
    ]
    kinds += ["complex64", "complex128"]
    base = torch.arange(24.0).reshape(6, 4)
    wanted = {kind: torch.arange(6).to(getattr(torch, kind)).reshape(2, 3) for kind in kinds}
    wanted |= {"turned": base.t(), "part": base[1:, 1:], "scalar": torch.tensor(3.0), "empty": torch.empty(0, 3)}
    torch.save(wanted, tmp_path / "a.pt", _use_new_zipfile_serialization=not legacy)
    read = read_foreign(tmp_path / "a.pt").tensors
    for name, tensor in wanted.items():
        assert read[name].dtype == tensor.dtype and read[name].shape == tensor.shape
        assert torch.equal(read[name].to(torch.complex128), tensor.to(torch.complex128)), name


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickle_protocols(tmp_path: Path, protocol: int) -> None:
    content = {
        "model": official.as_tensors(small()),
        "seen": {1, 2},
        "raw": b"ab",
        "score": np.float64(1),
        "where": tmp_path,
    }
    torch.save(content, tmp_path / "a.pt", pickle_protocol=protocol)
    assert_same(read_foreign(tmp_path / "a.pt").tensors, small())


def test_wrapped_in_data_parallel(tmp_path: Path) -> None:
    official.save_plain(tmp_path / "a.pth", {f"module.{name}": value for name, value in small().items()})
    assert_same(read_foreign(tmp_path / "a.pth").tensors, small())
    mixed = {"module.a": np.ones(1), "b": np.ones(1)}
    official.save_plain(tmp_path / "b.pth", mixed)
    assert_same(read_foreign(tmp_path / "b.pth").tensors, mixed)


def test_safetensors(tmp_path: Path) -> None:
    official.save_safetensors(tmp_path / "a.safetensors", small(), {"license": "Apache-2.0"})
    read = read_foreign(tmp_path / "a.safetensors")
    assert_same(read.tensors, small())
    assert read.facts == {"license": "Apache-2.0"}
    (tmp_path / "a.safetensors").rename(tmp_path / "a.bin")
    assert_same(read_foreign(tmp_path / "a.bin").tensors, small())


def test_npz(tmp_path: Path) -> None:
    given = small() | {"turned": np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)), "none": np.zeros((0, 2))}
    official.save_npz(tmp_path / "a.npz", given)
    assert_same(read_foreign(tmp_path / "a.npz").tensors, given)


def test_finiteness(tmp_path: Path) -> None:
    infinite = small() | {"decoder.anchors": np.array([1, np.inf], np.float32)}
    official.save_plain(tmp_path / "a.pth", infinite)
    tensors = read_foreign(tmp_path / "a.pth").tensors
    check_finite(tensors, except_for={"decoder.anchors"})
    with pytest.raises(BadInput, match=r"'decoder\.anchors' holds infinity"):
        check_finite(tensors)
    with pytest.raises(BadInput, match="'w' holds NaN"):
        check_finite({"w": torch.tensor([float("nan")])}, except_for={"w"})
    official.save_plain(tmp_path / "b.pth", small() | {"spoilt": np.array([np.nan], np.float16)})
    refused(tmp_path / "b.pth", "'spoilt' holds NaN")


# ---- files that are something else


def refused(path: Path, *said: str) -> str:
    """Reading ``path`` raises BadInput of one line that names the file and says ``said``."""
    with pytest.raises(BadInput) as caught:
        read_foreign(path)
    text = str(caught.value)
    assert len(text.splitlines()) == 1 and str(path) in text and len(text) < 1000, text
    for part in said:
        assert part in text, text
    return text


def test_no_checkpoint_at_all(tmp_path: Path) -> None:
    refused(tmp_path / "absent.pt", "no such file")
    refused(tmp_path, "not a regular file")
    for name, content, said in (
        ("empty.pt", b"", "0 bytes"),
        ("page.pt", b"<!DOCTYPE html>\n<html>", "which is no torch"),
        ("image.png", b"\x89PNG\r\n\x1a\n" + bytes(50), "which is no torch"),
        ("tiny.pt", b"P", "which is no torch"),
        ("list.pt", pickle.dumps([1]), "not one that torch.save wrote"),
        ("half.pt", b"PK\x03\x04" + bytes(40), "damaged"),
        ("short.safetensors", b"{}", "damaged"),
    ):
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, said)


def test_no_weights_in_it(tmp_path: Path) -> None:
    for content in ({"optimizer": {}, "epoch": 1}, [1, 2], {}, {"model": None}):
        torch.save(content, tmp_path / "a.pt")
        refused(tmp_path / "a.pt", "no weights at")


def test_archives(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    for name in ("a/../../evil", "/etc/passwd", "a\\b", "C:/x"):
        torch_zip(path, tensor(), {name: b"x"})
        refused(path, "points outside", repr(name))
    torch_zip(path, tensor(), {"archive/constants.pkl": b"x"})
    refused(path, "TorchScript")
    torch_zip(path, tensor(), {"archive/byteorder": b"big"})
    refused(path, "big-endian")
    torch_zip(path, tensor(), {"other/data.pkl": b"x"})
    refused(path, "2 data.pkl")
    torch_zip(path, tensor(), {"archive/data/9": bytes(10**6)}, zipfile.ZIP_DEFLATED)
    refused(path, "compressed")
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(9))
    refused(tmp_path / "a.npz", "compressed")


def test_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    for legacy in (False, True):
        official.save_plain(path, small(), legacy=legacy)
        whole = path.read_bytes()
        for length in (len(whole) - 3, len(whole) // 2, 9):
            path.write_bytes(whole[:length])
            refused(path)
    official.save_plain(path, small())
    whole = bytearray(path.read_bytes())
    whole[whole.index(small()["model.1.m.0.bias"].tobytes()) + 1] ^= 1
    path.write_bytes(whole)
    refused(path, "CRC")


def test_npz_of_objects_and_false_shapes(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, a=np.array([print], dtype=object))
    refused(path, "type 'object'")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", header.getvalue() + bytes(40))
    refused(path, "has 40 bytes")


def test_false_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"

    def write(header: str, body: bytes = bytes(8), length: int | None = None) -> None:
        path.write_bytes((len(header) if length is None else length).to_bytes(8, "little") + header.encode() + body)

    one = '{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}'
    write("{}", length=2 * 2**30)
    refused(path, "claims 2147483648 bytes, the file has 10")
    for header, said in (
        ("[]", "no table"),
        ("{", "damaged"),
        ("[" * 100_000, "damaged"),
        (one[:-1] + one.replace('{"a"', ', "b"', 1), "overlap"),
        (one.replace("8]", "9]"), "lies at"),
        (one.replace("[2]", "[4]"), "lies at"),
        (one.replace("[2]", "[-2]"), "refused"),
        (one.replace("[0, 8]", "[8, 16]"), "lies at"),
        (one.replace("F32", "F4"), "has type 'F4'"),
        ('{"a": 3}', "damaged"),
    ):
        write(header)
        refused(path, said)


# ---- files that attack


def torch_zip(
    path: Path, pickled: bytes, extra: dict[str, bytes] | None = None, method: int = zipfile.ZIP_STORED
) -> None:
    """A torch zip file around a pickle, with storage 0 of ten float32."""
    records = {"archive/data.pkl": pickled, "archive/byteorder": b"little", "archive/data/0": bytes(40)}
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in (records | (extra or {})).items():
            archive.writestr(name, content)


def torch_legacy(path: Path, pickled: bytes, numel: int = 10) -> None:
    """The same in the legacy layout."""
    first = (foreign.TORCH_MAGIC, 1001, {"little_endian": True})
    head = b"".join(pickle.dumps(value, 2) for value in first)
    keys = ["0"] if b"storage" in pickled else []
    path.write_bytes(head + pickled + pickle.dumps(keys, 2) + struct.pack("<q", numel) + bytes(40))


class Stored:
    """Pickles as a torch tensor with the given claims."""

    def __init__(self, numel: Any = 10, offset: Any = 0, size: Any = (10,), stride: Any = (1,), key: Any = "0") -> None:
        self.claims = numel, offset, size, stride, key


class Writer(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        return (
            ("storage", torch.FloatStorage, *value[1:])
            if isinstance(value, tuple) and value[:1] == ("my storage",)
            else None
        )

    def reducer_override(self, value: Any) -> Any:
        if not isinstance(value, Stored):
            return NotImplemented
        numel, offset, size, stride, key = value.claims
        return torch._utils._rebuild_tensor_v2, (
            ("my storage", key, "cpu", numel),
            offset,
            size,
            stride,
            False,
            OrderedDict(),
        )


def tensor(**claims: Any) -> bytes:
    return pickled({"model": {"w": Stored(**claims)}})


def pickled(value: Any, protocol: int = 2) -> bytes:
    stream = io.BytesIO()
    Writer(stream, protocol).dump(value)
    return stream.getvalue()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def attacks(canary: Path) -> dict[str, tuple[bytes, str]]:
    """Pickles that make ``canary``, each with the name that must be refused."""
    touch, opening = f"touch {canary}", f"open({str(canary)!r}, 'w').close()"
    return {
        "reduce": (b"\x80\x02cposix\nsystem\n" + text(touch) + b"\x85R.", "posix.system"),
        "in the weights": (b"\x80\x02}" + text("model") + b"cos\nsystem\n" + text(touch) + b"\x85Rs.", "os.system"),
        "newobj": (
            b"\x80\x02cbuiltins\nbytes\ncbuiltins\nmap\ncos\nsystem\n]" + text(touch) + b"a\x86\x81\x85\x81.",
            "builtins.map",
        ),
        "inst": (b"(" + text(touch) + b"ios\nsystem\n.", "os.system"),
        "obj": (b"(csubprocess\ngetoutput\n" + text(touch) + b"o.", "subprocess.getoutput"),
        "eval": (b"\x80\x02c__builtin__\neval\n" + text(opening) + b"\x85R.", "__builtin__.eval"),
        "exec": (b"\x80\x02cbuiltins\nexec\n" + text(opening) + b"\x85R.", "builtins.exec"),
        "getattr": (
            b"\x80\x02cbuiltins\ngetattr\ncbuiltins\n__import__\n"
            + text("os")
            + b"\x85R"
            + text("system")
            + b"\x86R"
            + text(touch)
            + b"\x85R.",
            "builtins.getattr",
        ),
        "dotted": (
            b"\x80\x04" + text("torch.nn.parallel.distributed") + text("os.system") + b"\x93" + text(touch) + b"\x85R.",
            "torch.nn.parallel.distributed.os.system",
        ),
        "partial": (b"\x80\x02cfunctools\npartial\ncos\nsystem\n" + text(touch) + b"\x86R)R.", "functools.partial"),
        "popen": (b"\x80\x02cos\npopen\n" + text(touch + "; sleep 0") + b"\x85R.", "os.popen"),
        "run as script": (b"\x80\x02ctorch.hub\neval\n" + text(opening) + b"\x85R.", "torch.hub.eval"),
    }


ATTACKS = list(attacks(Path("x")))
UNREAL = {"run as script"}
"""Attacks that plain pickle cannot carry out either; they try the list of prefixes."""


@pytest.mark.parametrize("write", [torch_zip, torch_legacy])
@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_are_refused_by_name(tmp_path: Path, attack: str, write: Callable) -> None:
    canary, path = tmp_path / "canary", tmp_path / "a.pt"
    payload, name = attacks(canary)[attack]
    if attack not in UNREAL:
        result = pickle.loads(payload if payload[:1] == b"\x80" else b"\x80\x02" + payload)
        if attack == "popen":
            result.close()
        assert canary.exists(), "the attack would not have worked"
        canary.unlink()
    write(path, payload if payload[:1] == b"\x80" else b"\x80\x02" + payload)
    refused(path, f"'{name}'", "refused")
    # And as the very first thing in a file.
    path.write_bytes(payload)
    refused(path)
    assert not canary.exists()


def test_a_thing_takes_whatever_is_done_to_it() -> None:
    """New, called, built twice, filled, hashed: a placeholder stays one."""
    name = b"cmodels.yolo\nModel\n"
    made = name + b")\x81" + b"}" + text("a") + b"K\x01sb" + b"}" + text("a") + b"K\x02s}" + text("b") + b"K\x03s\x86b"
    for code in (
        made + b".",
        name + b")R.",
        name + b"K\x01\x85}\x92.",
        made + b"(K\x01K\x02e.",
        made + b"K\x01a.",
        made + b"(K\x01K\x02u.",
        made + b"K\x01K\x02s.",
        b"\x8f(" + made + b"\x90.",
        b"}" + made + b"K\x01s.",
        made + text("eval") + b"b.",
    ):
        stream = b"\x80\x04" + code
        value = inert_pickle.InertUnpickler(io.BytesIO(stream), len(stream)).load()
        assert isinstance(value, (inert_pickle.InertObject, dict, set))
    built = b"\x80\x02" + made + b"."
    thing = inert_pickle.InertUnpickler(io.BytesIO(built), len(built)).load()
    assert (thing.get("a"), thing.get("b"), thing.get("c")) == (2, 3, None)


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"numel": 10**12}, "claims 4000000000000 bytes, the file has 40"),
        ({"size": (11,)}, "a storage that has 10"),
        ({"offset": 1}, "a storage that has 10"),
        ({"stride": (2,)}, "a storage that has 10"),
        ({"size": (10**6, 10**6), "stride": (0, 0)}, "a storage that has 10"),
        ({"size": (-1,)}, "refused"),
        ({"stride": (-1,)}, "refused"),
        ({"offset": -1}, "refused"),
        ({"offset": 2**70}, "refused"),
        ({"size": (0, 2**40, 2**40), "stride": (1, 1, 1)}, "refused"),
        ({"size": (True,)}, "refused"),
        ({"size": (1,), "stride": ()}, "refused"),
        ({"size": (1,) * 17, "stride": (1,) * 17}, "refused"),
        ({"numel": -1}, "refused"),
        ({"numel": "10"}, "refused"),
        ({"key": "../0"}, "claims 40 bytes, the file has 0"),
        ({"key": 0}, "refused"),
    ],
)
def test_false_tensors(tmp_path: Path, claims: dict[str, Any], said: str) -> None:
    torch_zip(tmp_path / "a.pt", tensor())
    assert read_foreign(tmp_path / "a.pt").tensors["w"].shape == (10,)
    torch_zip(tmp_path / "a.pt", tensor(**claims))
    refused(tmp_path / "a.pt", said)


def test_false_legacy_storages(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch_legacy(path, tensor())
    assert read_foreign(path).tensors["w"].shape == (10,)
    for numel in (11, 10**15, -1):
        torch_legacy(path, tensor(), numel)
        refused(path, "claims")
    torch_legacy(path, tensor(), 5)
    refused(path, "claims 40 bytes, the file has 20")
    torch_legacy(path, tensor(key="1"))
    refused(path, "list of storages")


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"model": value}
    return value


module = b"cmodels.yolo\nModel\n)\x81}" + text("_modules")
BOMBS = {
    "nested tuple as key": b"}" + b")" + b"\x85" * 300_000 + b"K\x01s.",
    "nested tuple in a set": b"\x8f(" + b")" + b"\x85" * 300_000 + b"\x90.",
    "nested tuple in a frozenset": b"(" + b")" + b"\x85" * 300_000 + b"\x91.",
    "nested tuple through a builder": b"c__builtin__\nset\n])" + b"\x85" * 300_000 + b"a\x85R.",
    "nested lists": b"]" * 200_000 + b"a" * 199_999 + b".",
    "memo index": b"Nr\xff\xff\xff\xff0.",
    "memo miss": b"h\x07.",
    "bytes": b"\x8e" + struct.pack("<Q", 2**40) + b"ab.",
    "text": b"\x8d" + struct.pack("<Q", 2**62) + b"ab.",
    "bytearray": b"\x96" + struct.pack("<Q", 2**40) + b"ab.",
    "bytearray by call": b"cbuiltins\nbytearray\n\x8a\x06" + (2**40).to_bytes(6, "little") + b"\x85R.",
    "long": b"\x8b" + struct.pack("<i", 2**31 - 1) + b"ab.",
    "frame": b"\x95" + struct.pack("<Q", 2**62) + b"N.",
    "copies": b"](" + b"N" * 5_000 + b"eq\x000" + b"cbuiltins\nlist\nh\x00\x85R0" * 2_000 + b"N.",
    "module in itself": module + b"}q\x00sbq\x010h\x00" + text("a") + b"h\x01s0}" + text("model") + b"h\x01s.",
    "doubling modules": (
        b"".join(
            module + b"}" + (text("a") + b"h\x01s" + text("b") + b"h\x01s" if level else b"") + b"sbq\x010"
            for level in range(40)
        )
        + b"}"
        + text("model")
        + b"h\x01s."
    ),
    "extension": b"\x82\x01.",
    "out of band": b"\x97.",
    "persistent text": b"Px\n.",
    "attributes of a name": b"cmodels.yolo\nModel\n}" + text("x") + b"K\x01sb.",
    "attributes of a builder": b"ctorch._utils\n_rebuild_parameter\nN}" + text("__defaults__") + b")s\x86b.",
    "call of a result": b"cmodels.yolo\nModel\n)R)R.",
    "empty stack": b"R.",
    "no mark": b"t.",
    "unknown opcode": b"\xf0.",
    "no end": b"N",
}


@pytest.mark.parametrize("write", [torch_zip, torch_legacy])
@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs(tmp_path: Path, bomb: str, write: Callable) -> None:
    write(tmp_path / "a.pt", b"\x80\x05" + BOMBS[bomb])
    tracemalloc.start()
    try:
        refused(tmp_path / "a.pt")
        assert tracemalloc.get_traced_memory()[1] < 200e6
    finally:
        tracemalloc.stop()


def test_what_is_not_weights_may_nest_deep(tmp_path: Path) -> None:
    torch_zip(
        tmp_path / "a.pt",
        b"\x80\x02}" + text("junk") + b"]" * 50_000 + b"a" * 49_999 + b"s" + text("model") + tensor_code(),
    )
    assert list(read_foreign(tmp_path / "a.pt").tensors) == ["w"]


def tensor_code() -> bytes:
    """The pickle of ``{'w': ten numbers}`` without its head, stored under the key before it."""
    return pickled({"w": Stored()})[2:-1] + b"s."


@pytest.mark.parametrize("kind", ["zip", "pickle in zip", "legacy", "model", "safetensors", "npz"])
def test_flipped_bytes(tmp_path: Path, kind: str) -> None:
    """Any damage ends in BadInput or in tensors."""
    path = tmp_path / ("a.safetensors" if kind == "safetensors" else "a.pt")
    if kind == "safetensors":
        official.save_safetensors(path, small())
    elif kind == "npz":
        official.save_npz(path, small())
        (tmp_path / "a.pt.npz").rename(path)
    elif kind == "model":
        official.save_pickled_model(path, small(), names=["cat"], legacy=True)
    else:
        official.save_plain(path, small(), legacy=kind == "legacy")
    whole = path.read_bytes()
    if kind == "pickle in zip":
        with zipfile.ZipFile(io.BytesIO(whole)) as archive:
            records = {name: archive.read(name) for name in archive.namelist()}
        main = next(name for name in records if name.endswith("/data.pkl"))
    rng = random.Random(kind)
    failed = 0
    for _ in range(200):
        damaged = bytearray(records[main] if kind == "pickle in zip" else whole)
        for _ in range(rng.choice((1, 1, 4))):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        if kind == "pickle in zip":
            with zipfile.ZipFile(path, "w") as archive:
                for name, content in (records | {main: bytes(damaged)}).items():
                    archive.writestr(name, content)
        else:
            path.write_bytes(damaged)
        try:
            assert read_foreign(path).tensors
        except BadInput as error:
            failed += 1
            assert len(str(error).splitlines()) == 1
    assert failed > 0
