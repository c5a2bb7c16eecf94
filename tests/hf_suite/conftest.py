"""Marks the tokenizer tests that docs/tokenizers.md lists as expected failures; test_models.py marks its own.

An unexpected pass is an error, and so is a row without a test.
"""

import re
from pathlib import Path

import pytest
import transformers

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "tokenizers.md"
ROW = re.compile(r"^\| `(?P<test>test_\w+)` \| (?P<releases>[\d., ]+) \| (?P<reason>.+?) \|$", re.MULTILINE)
RELEASE = ".".join(transformers.__version__.split(".")[:2])

collect_ignore = ["test_models.py"] if RELEASE == "4.57" else []  # it is written for 5.x


def expected_failures() -> dict[str, str]:
    """{test: reason} of the rows for the installed release."""
    _, table, _ = re.split("<!-- (?:end of )?hf-suite -->", DOCUMENT.read_text(encoding="utf-8"))
    rows = [row for row in ROW.finditer(table) if RELEASE in row["releases"].split(", ")]
    return {row["test"]: row["reason"] for row in rows}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    expected = expected_failures()
    ours = [item for item in items if item.path == Path(__file__).with_name("test_tokenizers.py")]
    for item in ours:
        if reason := expected.get(item.name):
            item.add_marker(pytest.mark.xfail(strict=True, reason=reason))
    unknown = expected.keys() - {item.name for item in ours}
    if ours and unknown and not any("::" in argument for argument in ours[0].config.args):
        raise pytest.UsageError(f"docs/tokenizers.md lists tests that do not exist: {', '.join(sorted(unknown))}")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: their marker; they skip those tests without RUN_SLOW")
    for marker in ("accelerate_tests", "flash_attn_test", "flash_attn_3_test", "flash_attn_4_test", "torch_compile_test"):
        config.addinivalue_line("markers", f"{marker}: a marker of their model tests")
