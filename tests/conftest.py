"""What all tests share: quiet frameworks, the data folder, and the rule on skips. Imports no framework."""

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("MOBILEBERT_DATA") or ROOT.parent / "shared" / "data").absolute()

# read by the frameworks when they are imported, which is after this
ENVIRONMENT = {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "OMP_NUM_THREADS": "1",  # the models are tiny, and tests run side by side
    "OMP_WAIT_POLICY": "PASSIVE",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
for name, value in ENVIRONMENT.items():
    os.environ.setdefault(name, value)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of public data sets: MOBILEBERT_DATA, or ../shared/data beside the repository."""
    if not DATA.is_dir():
        pytest.skip(f"MOBILEBERT_DATA: there is no folder {DATA}")
    return DATA


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, pytest.TestReport]:
    report: pytest.TestReport = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        refuse_skip(report, uses_data="data" in getattr(item, "fixturenames", ()))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, pytest.CollectReport]:
    report: pytest.CollectReport = yield
    if report.skipped:
        refuse_skip(report, uses_data=False)
    return report


def refuse_skip(report: pytest.TestReport | pytest.CollectReport, uses_data: bool) -> None:
    """Turn a skip into a failure: on CI that of a test on data that is there, and with MOBILEBERT_NO_SKIPS any but for absent data."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    wants_data = uses_data or "MOBILEBERT_DATA" in reason
    absent = wants_data and not DATA.is_dir()
    if not absent and ((wants_data and os.environ.get("CI")) or os.environ.get("MOBILEBERT_NO_SKIPS")):
        report.outcome = "failed"
        report.longrepr = f"must not be skipped here: {reason}"
