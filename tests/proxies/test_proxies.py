"""Upstreams behind real outbound proxies: every connection is in the proxy's own log, and none goes around it."""

import pytest

import harness
import wire
from proxies.outbound import HTTP_EXIT, SOCKS_EXIT, Door, Microsocks, Tinyproxy, certificate

USER, PASSWORD = "gate", "hunter2-s3cret"


@pytest.fixture
def door(sim):
    opened = Door(sim.url)
    yield opened
    opened.close()


@pytest.fixture
def start_proxy(folder):
    running = []

    def start(kind, **options):
        running.append(kind(folder, **options))
        return running[-1]

    yield start
    for proxy in running:
        proxy.stop()


def sections(door, outbound=None, **upstream):
    """One upstream behind the door; `m` is served by it."""
    upstream = {"name": "up", "dialect": "openai-chat", "base_url": f"{door.url}/v1", **upstream}
    upstream.setdefault("credentials", [{"name": "c1", "secret": "env:TEST_UPSTREAM_SECRET"}])
    built = {
        "upstreams": [upstream], "server": {"connect_timeout_ms": 1000},
        "models": [{"name": "m", "price": harness.PRICE, "targets": [{"upstream": "up", "model": "plain"}]}],
    }
    return {**built, "outbound": outbound} if outbound else built


def ask_some(gateway, count=3):
    """Plain and streamed, through two dialects: all must succeed."""
    for _ in range(count):
        for dialect, stream in (("openai-chat", False), ("openai-chat", True), ("anthropic", True)):
            reply = gateway.ask(dialect, "m", stream=stream)
            assert reply.status_code == 200, reply.text
            assert wire.read(dialect, reply.content, stream).finish == "stop"


def metrics(gateway) -> str:
    return harness.httpx.get(gateway.metrics_url + "/metrics", trust_env=False).text


def assert_silent_about(gateway, secret):
    assert secret not in gateway.process.output()
    assert secret not in metrics(gateway)


@pytest.mark.parametrize("kind, scheme, leaves_from", [
    (Tinyproxy, "http", HTTP_EXIT), (Microsocks, "socks5", SOCKS_EXIT), (Microsocks, "socks5h", SOCKS_EXIT)])
@pytest.mark.parametrize("named_by", ["upstream", "credential", "installation"])
def test_every_connection_goes_through_the_proxy_with_its_password(
        door, start_proxy, start_gateway, kind, scheme, leaves_from, named_by):
    proxy = start_proxy(kind, user=USER, password=PASSWORD)
    url = proxy.url(scheme)
    built = {
        "upstream": lambda: sections(door, proxy=url),
        "credential": lambda: sections(door, proxy="http://127.0.0.1:1", credentials=[
            {"name": "c1", "secret": "env:TEST_UPSTREAM_SECRET", "proxy": url}]),
        "installation": lambda: sections(door, outbound={"proxy": "env:TEST_PROXY"}),
    }[named_by]()
    gateway = start_gateway(built, env={"TEST_PROXY": url})
    ask_some(gateway)
    assert set(door.peers) == {leaves_from}
    assert len(proxy.uses()) == len(door.peers) > 0
    assert_silent_about(gateway, PASSWORD)


@pytest.mark.parametrize("kind", [Tinyproxy, Microsocks])
def test_a_wrong_password_is_an_error_that_names_the_proxy_and_nothing_goes_around_it(door, start_proxy, start_gateway, kind):
    proxy = start_proxy(kind, user=USER, password=PASSWORD)
    wrong = proxy.url().replace(PASSWORD, "wrong-passw0rd")
    gateway = start_gateway(sections(door, proxy=wrong))
    for stream in (False, True):
        reply = gateway.ask("openai-chat", "m", stream=stream)
        assert reply.status_code == 503
        assert "127.0.0.1" not in reply.text, "a tenant learns nothing of the operator's proxies"
    assert door.peers == []
    counted = [line for line in metrics(gateway).splitlines() if line.startswith("tallygate_outbound_proxy_connections_total")]
    assert len(counted) == 1
    assert f'outcome="login",proxy="{proxy.shown}"' in counted[0]
    assert "refuses the user name or password" in gateway.process.output()
    assert_silent_about(gateway, "wrong-passw0rd")


def test_a_killed_proxy_is_passed_over_for_the_next_and_comes_back(door, start_proxy, start_gateway):
    first, second = start_proxy(Tinyproxy), start_proxy(Microsocks)
    gateway = start_gateway(sections(door, outbound={"proxy": [first.url(), second.url()]}))
    ask_some(gateway, 1)
    assert set(door.peers) == {HTTP_EXIT}
    assert second.uses() == []
    first.stop()
    seen = len(door.peers)
    ask_some(gateway)
    assert set(door.peers[seen:]) == {SOCKS_EXIT}
    assert f'tallygate_outbound_proxy_up{{proxy="{first.shown}"}} 0' in metrics(gateway)
    second.stop()
    seen = len(door.peers)
    assert gateway.ask("openai-chat", "m").status_code == 503
    assert len(door.peers) == seen, "a connection went around the proxies"
    first.start()
    harness.wait_for("the probe of the first proxy", lambda: gateway.ask("openai-chat", "m").status_code == 200, 10, 0.1)
    assert set(door.peers[seen:]) == {HTTP_EXIT}


def test_a_proxy_that_hangs_is_passed_over(door, start_proxy, start_gateway):
    hung, good = start_proxy(Tinyproxy), start_proxy(Microsocks)
    hung.process.child.send_signal(harness.signal.SIGSTOP)
    gateway = start_gateway(sections(door, outbound={"proxy": [hung.url(), good.url()]}))
    try:
        ask_some(gateway)
    finally:
        hung.process.child.send_signal(harness.signal.SIGCONT)
    assert set(door.peers) == {SOCKS_EXIT}
    tried = [line for line in metrics(gateway).splitlines() if 'outcome="timeout"' in line and hung.shown in line]
    assert len(tried) == 1


def test_a_dead_proxy_alone_is_an_error_and_never_a_direct_connection(door, start_gateway):
    dead = f"http://127.0.0.1:{harness.free_port()}"
    gateway = start_gateway(sections(door, proxy=dead))
    for stream in (False, True):
        for dialect in ("openai-chat", "anthropic", "gemini"):
            assert gateway.ask(dialect, "m", stream=stream).status_code in (503, 529)
    assert door.peers == []


def test_what_no_proxy_lists_goes_direct_and_nothing_else(door, sim, start_proxy, start_gateway):
    proxy, other = start_proxy(Tinyproxy), Door(sim.url)
    built = sections(door, outbound={"proxy": proxy.url(), "no_proxy": [f"127.0.0.0/8:{door.port}"]})
    built["upstreams"].append({**built["upstreams"][0], "name": "other", "base_url": f"{other.url}/v1"})
    built["models"].append({"name": "o", "price": harness.PRICE, "targets": [{"upstream": "other", "model": "plain"}]})
    gateway = start_gateway(built)
    ask_some(gateway, 1)
    assert (set(door.peers), proxy.uses()) == ({"127.0.0.1"}, [])
    assert gateway.ask("openai-chat", "o").status_code == 200
    assert set(other.peers) == {HTTP_EXIT}
    other.close()


def test_proxies_of_the_environment_are_not_used(door, start_gateway):
    dead = f"http://127.0.0.1:{harness.free_port()}"
    env = {name: dead for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")}
    gateway = start_gateway(sections(door), env={**env, "NO_PROXY": ""})
    ask_some(gateway, 1)
    assert set(door.peers) == {"127.0.0.1"}


@pytest.mark.parametrize("kind, leaves_from", [(Tinyproxy, HTTP_EXIT), (Microsocks, SOCKS_EXIT)])
def test_an_upstream_with_tls_of_an_authority_of_ones_own(sim, folder, start_proxy, start_gateway, kind, leaves_from):
    tls = certificate(folder)
    door, proxy = Door(sim.url, tls), start_proxy(kind)
    gateway = start_gateway(sections(door, outbound={"proxy": proxy.url(), "ca_file": str(tls[0])}))
    ask_some(gateway, 1)
    assert set(door.peers) == {leaves_from}
    untrusting = start_gateway(sections(door, outbound={"proxy": proxy.url()}))
    assert untrusting.ask("openai-chat", "m").status_code == 503
    door.close()


def test_a_proxy_that_is_spoken_to_in_tls(door, folder, start_proxy, start_gateway):
    tls, proxy = certificate(folder), start_proxy(Tinyproxy, user=USER, password=PASSWORD)
    stunnel = Door(f"http://127.0.0.1:{proxy.port}", tls)
    url = f"https://{USER}:{PASSWORD}@127.0.0.1:{stunnel.port}"
    gateway = start_gateway(sections(door, proxy=url, outbound={"ca_file": str(tls[0])}))
    ask_some(gateway, 1)
    assert set(door.peers) == {HTTP_EXIT}
    assert len(proxy.uses()) == len(door.peers) == len(stunnel.peers)
    stunnel.close()


@pytest.mark.parametrize("alive", [True, False])
def test_the_upstream_test_takes_the_same_way(door, start_proxy, start_gateway, alive):
    proxy = start_proxy(Tinyproxy)
    if not alive:
        proxy.stop()
    gateway = start_gateway(sections(door, outbound={"proxy": proxy.url()}))
    gateway.stop()
    told = harness.json.loads(gateway.cli("upstream", "test", "up", "--json", check=False))
    assert told["ok"] is alive
    assert [step["step"] for step in told["steps"]][:2] == ["dns", "proxy"]
    assert set(door.peers) == ({HTTP_EXIT} if alive else set())
