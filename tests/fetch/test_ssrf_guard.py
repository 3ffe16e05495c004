"""Which addresses are public, and that a connection goes to the very address that was checked."""

import contextlib
import socket
import threading
import time

import httpcore
import pytest

from cataloger.errors import ImageError
from cataloger.fetch.ssrf_guard import CheckedBackend, is_public, system_resolve

PUBLIC = "93.184.216.34"


@pytest.mark.parametrize(
    "address",
    [
        PUBLIC,
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2a00:1450:4001:80b::200e",
        "::ffff:1.1.1.1",
        "64:ff9b::1.1.1.1",
    ],
)
def test_global_unicast_addresses_are_public(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::1.1.1.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:0:127.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::1.1.1.1",
        "100::1",
        "2001::1",
        "2001:0:7f00:1::1",
        "2001:2::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:a00:1::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "4000::1",
    ],
)
def test_every_other_address_is_not(address):
    assert not is_public(address)


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "0x7f000001", "2130706433", "1.1.1.1 ", "01.1.1.1"])
def test_what_is_no_address_is_not_taken_for_one(text):
    with pytest.raises(ValueError, match="does not appear"):
        is_public(text)


@pytest.mark.parametrize("name", ["127.0.0.1", "127.1", "0x7f.1", "2130706433", "017700000001", "localhost"])
def test_every_way_to_write_this_machine_is_seen_through(name):
    with pytest.raises(ImageError) as raised:
        CheckedBackend().connect_tcp(name, 1, timeout=1)
    assert raised.value.code == "fetch.private_address"


def test_the_system_resolves_to_addresses_without_repetition():
    assert system_resolve("127.0.0.1", 80) == ["127.0.0.1"]
    with pytest.raises((OSError, ValueError)):
        system_resolve("a" * 300, 80)


class Network(httpcore.NetworkBackend):
    """Answers only at some addresses, with one end of a pair of sockets; keeps what was asked for."""

    def __init__(self, *alive):
        self.alive = alive
        self.asked = []
        self.ends = []

    def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):
        self.asked.append((host, timeout))
        if host not in self.alive:
            raise httpcore.ConnectError(f"{host} is dead")
        ours, theirs = socket.socketpair()
        self.ends.append(theirs)
        return Stream(ours)


class Stream(httpcore.NetworkStream):
    """One end of a pair of sockets as httpcore wants it."""

    def __init__(self, ours):
        self.ours = ours

    def read(self, max_bytes, timeout=None):
        self.ours.settimeout(timeout)
        try:
            return self.ours.recv(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout from error

    def write(self, buffer, timeout=None):
        self.ours.settimeout(timeout)
        self.ours.sendall(buffer)

    def close(self):
        self.ours.close()

    def get_extra_info(self, info):
        return self.ours if info == "socket" else None


def backend(network, *addresses, **options):
    return CheckedBackend(resolve=lambda host, port: list(addresses), tcp=network, **options)


@pytest.mark.parametrize("addresses", [["10.0.0.1", PUBLIC], [PUBLIC, "10.0.0.1"], [PUBLIC, "::1"], ["fe80::1%1"]])
def test_one_private_address_among_others_is_enough_to_refuse_a_name(addresses):
    network = Network(PUBLIC)
    with pytest.raises(ImageError) as raised:
        backend(network, *addresses).connect_tcp("shop.test", 80, timeout=1)
    assert raised.value.code == "fetch.private_address"
    assert "shop.test" in str(raised.value)
    assert not network.asked


def test_an_answer_that_is_no_address_is_refused():
    network = Network("localhost")
    with pytest.raises(httpcore.ConnectError):
        backend(network, "localhost").connect_tcp("shop.test", 80, timeout=1)
    assert not network.asked


def test_private_addresses_can_be_allowed():
    network = Network("10.0.0.1")
    backend(network, "10.0.0.1", allow_private=True).connect_tcp("shop.test", 80, timeout=1).close()
    assert [host for host, _ in network.asked] == ["10.0.0.1"]


def test_a_name_without_an_address_is_a_failed_connection():
    with pytest.raises(httpcore.ConnectError, match=r"shop\.test"):
        backend(Network()).connect_tcp("shop.test", 80, timeout=1)


@pytest.mark.parametrize("error", [socket.gaierror(socket.EAI_NONAME, "unknown"), UnicodeError("label too long")])
def test_a_name_that_does_not_resolve_is_a_failed_connection(error):
    def resolve(host, port):
        raise error

    with pytest.raises(httpcore.ConnectError, match="resolve"):
        CheckedBackend(resolve=resolve).connect_tcp("shop.test", 80, timeout=1)


def test_addresses_are_tried_in_order_and_share_the_time():
    network = Network("9.9.9.9")
    backend(network, "1.1.1.1", "8.8.8.8", "9.9.9.9", "4.4.4.4").connect_tcp("shop.test", 80, timeout=8).close()
    assert [host for host, _ in network.asked] == ["1.1.1.1", "8.8.8.8", "9.9.9.9"]
    assert [round(timeout) for _, timeout in network.asked] == [2, 3, 4]


def test_the_last_error_is_raised_when_no_address_answers():
    with pytest.raises(httpcore.ConnectError, match=r"8\.8\.8\.8 is dead"):
        backend(Network(), "1.1.1.1", "8.8.8.8").connect_tcp("shop.test", 80, timeout=1)


def test_the_time_limit_is_for_all_reads_together():
    network = Network(PUBLIC)
    checked = backend(network, PUBLIC)
    start = time.monotonic()
    with checked.time_limit(3.0):
        stream = checked.connect_tcp("shop.test", 80, timeout=60)
        network.ends[0].send(b"a")
        assert stream.read(10, timeout=60) == b"a"
        with pytest.raises(httpcore.ReadTimeout):
            stream.read(10, timeout=60)
        with pytest.raises(httpcore.WriteTimeout):
            stream.write(b"late", timeout=60)
        with pytest.raises(httpcore.ConnectTimeout):
            checked.connect_tcp("shop.test", 80, timeout=60)
    assert 3.0 <= time.monotonic() - start < 60
    stream.write(b"the next request has its own limit", timeout=60)
    stream.close()


def test_the_time_limit_of_one_thread_is_not_that_of_another():
    network = Network(PUBLIC)
    checked = backend(network, PUBLIC)
    stream = checked.connect_tcp("shop.test", 80, timeout=1)
    outcome = []

    def other():
        with contextlib.suppress(httpcore.WriteTimeout):
            stream.write(b"x", timeout=60)
            outcome.append("written")

    with checked.time_limit(0.001):
        time.sleep(0.01)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    stream.close()
    assert outcome == ["written"]


def test_an_abort_ends_reads_and_new_connections():
    network = Network(PUBLIC)
    checked = backend(network, PUBLIC)
    stream = checked.connect_tcp("shop.test", 80, timeout=1)
    threading.Timer(0.2, checked.abort).start()
    start = time.monotonic()
    assert stream.read(10, timeout=60) == b""
    assert time.monotonic() - start < 60
    late = checked.connect_tcp("shop.test", 80, timeout=60)
    assert late.read(10, timeout=60) == b""
    stream.close()
    late.close()
