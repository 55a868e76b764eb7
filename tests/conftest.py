"""What every test lives under: one thread, no network, and real data only where it is."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: idle threads that spin slow a busy machine many times over
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import socket
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Only this machine may be reached: two processes of one run talk over it."""
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"the test tried to reach {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True, scope="module")
def no_modules_of_others(tmp_path_factory):
    """What the tests of a file import from temporary folders is gone when the next file begins."""
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path_factory.getbasetemp())):
            del sys.modules[name]


@pytest.fixture(scope="session")
def shared():
    """The folder of real data and weights beside the checkout; see CONTRIBUTING.md."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        message = f"real data and weights are looked for in {folder}"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def ranks(tmp_path_factory):
    """Two processes that train one run together; started when the first test asks for them."""
    from ranks import Ranks

    made = Ranks(2, tmp_path_factory.mktemp("ranks") / "said.txt")
    yield made
    made.end()
