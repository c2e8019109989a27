"""A small atlas folder with every optional table: two families, one network under two recipes, one marked network."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from tests.nas.evidence.trained import network

SHARED = Path(__file__).resolve().parents[3].parent / "shared"
"""Folder of the data beside the repository, where present."""
ATLAS = SHARED / "atlas"

TABLES = {
    "accuracy.csv": """arch,family,input_px,coco_val_map50_95,coco_measured_map50_95,coco_only_map50_95
alpha-s,Alpha,64,0.3000,0.2990,0.3000
alpha-l,Alpha,64,0.4000,,0.4000
beta-s,Beta,96,0.3500,,
""",
    "trainings.csv": """\
model,graph,family,input_px,coco_val_map50_95,coco_measured_map50_95,params_m,gflops,recipe,source
alpha-s [distilled],alpha-s,Alpha,64,0.3200,,0.01,0.02,"scratch 300e, distilled",someone/alpha@1:README.md
alpha-s [scratch],alpha-s,Alpha,64,0.3000,0.2990,0.01,0.02,scratch 300e,someone/alpha@1:README.md
alpha-l,alpha-l,Alpha,64,0.4000,,0.02,0.04,scratch 300e,someone/alpha@1:README.md
beta-s,beta-s,Beta,96,0.3500,,0.05,0.9,"Objects365 pretrain, then COCO 80e",other/beta@2:README.md
""",
    "sizes.csv": """\
graph,family,input_px,published_params_m,published_gflops,params_diff_percent,gflops_diff_percent,verdict
alpha-s,Alpha,64,0.01,0.02,0.2,0.1,agrees
alpha-l,Alpha,64,0.03,0.04,-33.3,-1.0,differs: params
beta-s,Beta,96,0.05,0.9,0.1,-30.0,differs: gflops
""",
    "latency.csv": """model,family,input_px,board_fp32_ms,board_int8_ms
alpha-s,Alpha,64,3.5,1.5
alpha-l,Alpha,64,6.5,
""",
    "latency_facts.csv": """model,graph,input_px,device,runtime,precision,batch,ms,what,source
alpha_s,alpha-s,64,Some Phone,NNAPI,int8,1,2.5,the network alone,someone/phones@3:t.csv
unknown,,64,Some Phone,NNAPI,int8,1,9.5,the network alone,someone/phones@3:t.csv
""",
    "int8.csv": """model,graph,input_px,device_tool,method,float_map,int8_map,source
alpha_s,alpha-s,,Some Chip,PTQ,0.3000,0.2910,someone/chips@4:t.rst
""",
}


def folder(path: Path, without: tuple[str, ...] = ()) -> Path:
    """Write the folder, without some of its tables."""
    path.mkdir(parents=True, exist_ok=True)
    for name, text in TABLES.items():
        if name not in without:
            (path / name).write_text(text)
    with gzip.open(path / "graphs.jsonl.gz", "wt") as file:
        for name, (width, depth) in {"alpha-s": (4, 1), "alpha-l": (8, 2), "beta-s": (12, 4)}.items():
            file.write(json.dumps(network(name, width, depth).to_json()) + "\n")
    return path
