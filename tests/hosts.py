"""Processes that tests kill and restart, and hosts that tests kill and disconnect.

Where this machine permits it, a host is a network namespace with a host name of its own: its traffic to 127.0.0.1 reaches this
machine until its cable is cut. Elsewhere a host is only a name, and cannot be disconnected.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import psutil

HOST = "LANES_TEST_HOST"  # an environment variable of every process of a host


@cache
def may_cut_cables() -> bool:
    """Return whether this machine permits network namespaces and address translation."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "iptables", "sysctl", "unshare"))):
        return False
    name = f"lanes-try-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode != 0:
        return False
    subprocess.run(["ip", "netns", "del", name], check=True)
    return subprocess.run(["iptables", "-t", "nat", "-L"], capture_output=True).returncode == 0


@dataclass
class FleetPart:
    """A process that is started, killed and restarted with the same command."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    logs: Path
    answers: Callable[[], bool] = lambda: True  # whether it answers after its start
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    is_wanted: bool = field(default=False, init=False)

    def start(self) -> None:
        """Start the process; its output is appended to its log."""
        self.is_wanted = True
        with (self.logs / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.logs,
            )

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the process and wait for its end."""
        self.is_wanted = False
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)

    def keep(self) -> None:
        """Restart the process if it ended by itself, as systemd does."""
        if self.is_wanted and self.process is not None and self.process.poll() is not None:
            print(f"{self.name} ended by itself with {self.process.returncode}", flush=True)
            self.start()


@dataclass
class HostNode:
    """A host: its name, its Lanes worker, and its network namespace and cable where the machine permits them."""

    name: str
    worker: FleetPart
    namespace: str | None
    cable: str | None

    def start(self) -> None:
        """Start the worker of the host."""
        self.worker.start()

    def pids(self) -> list[int]:
        """Return the process ids of the host."""
        found: list[int] = []
        for each in psutil.process_iter():
            try:
                if each.environ().get(HOST) == self.name and each.status() != "zombie":
                    found.append(each.pid)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def kill(self) -> None:
        """Kill every process of the host at once."""
        self.worker.is_wanted = False
        while pids := self.pids():
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        self.worker.end()

    def cut_off(self) -> None:
        """Cut the cable of the host: its connections stay open but carry no data."""
        assert self.cable is not None
        cut(self.cable)

    def connect(self) -> None:
        """Reconnect the cable of the host."""
        assert self.cable is not None
        _do("ip", "link", "set", self.cable, "up")


def cut(cable: str) -> None:
    """Cut a cable: connections stay open but carry no data."""
    _do("ip", "link", "set", cable, "down")


def namespace_of(opened: ExitStack, name: str, number: int) -> tuple[str, str]:
    """Create a namespace whose 127.0.0.1 leads to this machine's, and return its name and its cable."""
    namespace, cable = f"lanes-{os.getpid()}-{name}", f"ln{os.getpid() % 100_000}{name}"[:15]
    net = f"10.{77 + os.getpid() % 100}.{number}"
    inside = ("ip", "netns", "exec", namespace)
    translated = ("-p", "tcp", "-d", f"{net}.1", "-j", "DNAT", "--to-destination", "127.0.0.1")
    _do("ip", "netns", "add", namespace)
    opened.callback(_do, "ip", "netns", "del", namespace)
    _do("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", namespace)
    _do("ip", "addr", "add", f"{net}.1/24", "dev", cable)
    _do("ip", "link", "set", cable, "up")
    _do("sysctl", "-qw", f"net.ipv4.conf.{cable}.route_localnet=1")
    _do("iptables", "-w", "-t", "nat", "-A", "PREROUTING", "-i", cable, *translated)
    opened.callback(
        _do, "iptables", "-w", "-t", "nat", "-D", "PREROUTING", "-i", cable, *translated
    )
    # Postgres accepts connections from this machine's own address only.
    local = ("-s", f"{net}.2", "-p", "tcp", "-j", "SNAT", "--to-source", "127.0.0.1")
    _do("iptables", "-w", "-t", "nat", "-A", "INPUT", *local)
    opened.callback(_do, "iptables", "-w", "-t", "nat", "-D", "INPUT", *local)
    # Otherwise the kernel adds an IPv6 address a second later, and a browser in the namespace drops waiting requests.
    _do(*inside, "sysctl", "-eqw", "net.ipv6.conf.eth0.disable_ipv6=1")
    _do(*inside, "ip", "addr", "add", f"{net}.2/24", "dev", "eth0")
    _do(*inside, "ip", "link", "set", "eth0", "up")
    _do(*inside, "ip", "link", "set", "lo", "up")
    _do(*inside, "sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")
    out = ("-p", "tcp", "-d", "127.0.0.1", "-j", "DNAT", "--to-destination", f"{net}.1")
    _do(*inside, "iptables", "-w", "-t", "nat", "-A", "OUTPUT", *out)
    _do(
        *inside,
        "iptables",
        "-w",
        "-t",
        "nat",
        "-A",
        "POSTROUTING",
        "-o",
        "eth0",
        "-j",
        "MASQUERADE",
    )
    return namespace, cable


def shield(opened: ExitStack, program: str, folder: Path) -> str:
    """Write a script that runs the browser in a network namespace of its own, and return its path.

    Outside a namespace, Chromium drops waiting requests (ERR_NETWORK_CHANGED) when another test creates or disconnects a host.
    Where this machine permits no namespaces, no test changes the network, and the path of the browser itself is returned.
    """
    if not may_cut_cables():
        return program
    namespace, _ = namespace_of(opened, "browser", 9)
    script = folder / "browser"
    script.write_text(f'#!/bin/sh\nexec ip netns exec {namespace} {program} "$@"\n')
    script.chmod(0o755)
    return str(script)


def _do(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
