"""The corpus: every hostile case, the same in every run."""

from __future__ import annotations

from pathlib import Path

from tests.hostile.data_cases import data_cases
from tests.hostile.onnx_cases import onnx_cases
from tests.hostile.run_cases import run_cases
from tests.hostile.runner import Case
from tests.hostile.table_cases import table_cases
from tests.hostile.text_cases import graph_cases, tinynas_cases, yaml_cases
from tests.hostile.weights_cases import weights_cases
from tests.hostile.word_cases import odd_file_cases, word_cases


def all_cases(folder: Path) -> list[Case]:
    """The cases by class; names are unique. What several share is made in ``folder``."""
    texts = [*yaml_cases(), *graph_cases(), *tinynas_cases(), *onnx_cases(), *table_cases()]
    return [*texts, *weights_cases(folder), *data_cases(folder), *run_cases(folder), *word_cases(), *odd_file_cases()]
