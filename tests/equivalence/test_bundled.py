"""The model that comes with this package, opened by its name in both twins."""

import socket
from typing import Any

import pytest

from mobilebert_common.files.hub import BUNDLED
from mobilebert_common.verification import TOLERANCE, verify


@pytest.mark.parametrize("name", BUNDLED)
def test_both_twins_open_it_without_a_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    differences = verify(name)
    assert {found.output for found in differences} >= {"last_hidden_state", "pooler_output"}
    assert all(found.relative <= TOLERANCE["float64"] for found in differences)
