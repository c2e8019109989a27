"""The files of ``docs/cluster``: as much of them as can be checked without Kubernetes and Slurm."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from nas.cli import build_parser
from nas.scores import SCORES
from nas.searcher.worker_plan import WorkerPlan

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "cluster"


@pytest.fixture(scope="module")
def manifest() -> dict[str, dict[str, Any]]:
    """The objects of ``rayjob.yaml`` by kind."""
    return {item["kind"]: item for item in yaml.safe_load_all((FOLDER / "rayjob.yaml").read_text(encoding="utf-8"))}


def accepted(command: str) -> Any:
    """A ``nas search`` as the real parser reads it, and as the search would split it."""
    words = shlex.split(command)
    assert words[0] == "nas"
    args = build_parser().parse_args(words[1:])
    shape = WorkerPlan.of(
        args.strategy, args.score is None or SCORES[args.score].additive, args.workers, args.address, args.islands
    )
    assert shape.islands == args.islands
    return args


def pinned(package: str) -> str:
    found = re.search(rf"^{package}==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    return found[1]


def test_the_manifest_has_what_kuberay_wants(manifest: dict[str, dict[str, Any]]) -> None:
    job, claim = manifest["RayJob"], manifest["PersistentVolumeClaim"]
    assert (job["apiVersion"], claim["apiVersion"]) == ("ray.io/v1", "v1")
    spec = job["spec"]
    assert set(spec) <= {
        "entrypoint",
        "backoffLimit",
        "shutdownAfterJobFinishes",
        "ttlSecondsAfterFinished",
        "rayClusterSpec",
    }
    cluster = spec["rayClusterSpec"]
    assert cluster["rayVersion"] == pinned("ray")
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        assert all(isinstance(value, str) for value in group["rayStartParams"].values()), "KubeRay wants texts"
        (container,) = group["template"]["spec"]["containers"]
        assert container["image"] == groups[0]["template"]["spec"]["containers"][0]["image"]
        assert container["resources"]["limits"] == container["resources"]["requests"]
        assert {"cpu", "memory"} == set(container["resources"]["limits"])
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", container["name"])
    head = groups[0]["template"]["spec"]
    assert {port["containerPort"] for port in head["containers"][0]["ports"]} == {6379, 8265, 10001}
    assert head["volumes"] == [{"name": "runs", "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}]
    assert head["containers"][0]["volumeMounts"] == [{"name": "runs", "mountPath": "/runs"}]


def test_the_manifest_searches_on_all_its_cpus_and_keeps_the_runs(manifest: dict[str, dict[str, Any]]) -> None:
    spec = manifest["RayJob"]["spec"]
    args = accepted(spec["entrypoint"])
    (group,) = spec["rayClusterSpec"]["workerGroupSpecs"]
    cpus = int(group["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"])
    assert args.workers == group["replicas"] * cpus == group["maxReplicas"] * cpus
    assert args.address == "auto" and args.runs == "/runs" and args.name
    assert spec["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_the_image_has_the_ray_of_the_manifest_and_what_the_page_builds(manifest: dict[str, dict[str, Any]]) -> None:
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    assert f"FROM rayproject/ray:{pinned('ray')}-" in text and "-c constraints.txt '.[ray]'" in text
    image = manifest["RayJob"]["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["image"]
    assert f"-t {image} ." in (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8") and f"-t {image} ." in text


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_the_slurm_script_parses_and_its_commands_are_ours() -> None:
    file = FOLDER / "search.sbatch"
    done = subprocess.run(["bash", "-n", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = file.read_text(encoding="utf-8").replace("\\\n", " ")
    (search,) = re.findall(r"^nas search .*(?= &$)", text, re.MULTILINE)
    for name, value in {"$workers": "63", "$address": "10.0.0.5:26379", "$RUNS": "runs"}.items():
        search = search.replace(name, value)
    assert accepted(search).name == "slurm"
    options = set(re.findall(r"^#SBATCH (--[a-z-]+)=", text, re.MULTILINE))
    assert options == {"--job-name", "--nodes", "--ntasks-per-node", "--cpus-per-task", "--mem", "--time", "--signal"}


def test_ray_knows_the_options_that_the_page_and_the_script_give_it() -> None:
    pytest.importorskip("ray")
    from ray.scripts.scripts import start

    known = {option for parameter in start.params for option in (*parameter.opts, *parameter.secondary_opts)}
    texts = [
        (FOLDER / "search.sbatch").read_text(encoding="utf-8").replace("\\\n", " "),
        (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8"),
    ]
    lines = [line for text in texts for line in re.findall(r"(?<!`)ray start (--.*)", text)]
    assert len(lines) >= 4
    for line in lines:
        assert set(re.findall(r"--[a-z][a-z-]*", line)) <= known


def test_every_search_on_the_page_is_accepted() -> None:
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    commands = [line for line in page.splitlines() if line.startswith("nas search ")]
    assert len(commands) == 3
    for command in commands:
        build_parser().parse_args(shlex.split(command)[1:])
