"""A bad configuration file is refused at once, by file, line, key and the nearest known key."""

import subprocess

import pytest

import harness

CASES = {
    "unknown key": ('[server]\nlisten = "127.0.0.1:0"\nadmin_lisen = "127.0.0.1:0"\n', ["tallygate.toml:3", "admin_lisen", "admin_listen"]),
    "unknown section": ('[sever]\nlisten = "127.0.0.1:0"\n', ["tallygate.toml:1", "sever", "server"]),
    "no TOML": ("[server\n", ["tallygate.toml:1"]),
    "wrong type": ("[server]\nmax_body_bytes = true\n", ["tallygate.toml:2"]),
    "wrong address": ('[server]\nlisten = "nowhere"\n', ["tallygate.toml:2"]),
    "unknown dialect": ('[[upstreams]]\nname = "a"\ndialect = "antropic"\nbase_url = "http://127.0.0.1:1"\n', ["tallygate.toml:3", "anthropic"]),
    "unknown upstream": (
        '[[upstreams]]\nname = "main"\ndialect = "anthropic"\nbase_url = "http://127.0.0.1:1"\n'
        '[[models]]\nname = "m"\ntargets = [{ upstream = "mian", model = "x" }]\n', ["mian", "main"]),
}


def run(folder, *arguments):
    return subprocess.run([harness.BIN, *arguments], capture_output=True, text=True, timeout=20, cwd=folder)


@pytest.mark.parametrize("command", [["config", "check"], ["serve"]], ids=["check", "serve"])
@pytest.mark.parametrize("case", CASES)
def test_bad_file(folder, case, command):
    text, wanted = CASES[case]
    (folder / "tallygate.toml").write_text(text)
    done = run(folder, *command, "--config", "tallygate.toml")
    assert done.returncode != 0
    told = done.stdout + done.stderr
    for word in wanted:
        assert word in told, told
    assert "panicked" not in told


def test_missing_file(folder):
    done = run(folder, "serve", "--config", "nowhere.toml")
    assert done.returncode != 0
    assert "nowhere.toml" in done.stderr + done.stdout


def test_a_missing_secret_is_named_by_its_variable(folder):
    (folder / "tallygate.toml").write_text(
        f'[server]\nlisten = "127.0.0.1:{harness.free_port()}"\nadmin_listen = "127.0.0.1:{harness.free_port()}"\n'
        f'metrics_listen = "127.0.0.1:{harness.free_port()}"\n'
        '[[upstreams]]\nname = "a"\ndialect = "anthropic"\nbase_url = "http://127.0.0.1:1"\n'
        'credentials = [{ name = "c", secret = "env:TALLYGATE_TEST_NO_SUCH_VARIABLE" }]\n')
    done = run(folder, "serve", "--config", "tallygate.toml")
    assert done.returncode != 0
    assert "TALLYGATE_TEST_NO_SUCH_VARIABLE" in done.stderr + done.stdout


def test_a_taken_port_is_named(folder, sim):
    port = sim.url.rsplit(":", 1)[1]
    (folder / "tallygate.toml").write_text(
        f'[server]\nlisten = "127.0.0.1:{port}"\nadmin_listen = "127.0.0.1:{harness.free_port()}"\n'
        f'metrics_listen = "127.0.0.1:{harness.free_port()}"\n[store]\nurl = "sqlite:{folder}/t.db"\n')
    done = run(folder, "serve", "--config", "tallygate.toml")
    assert done.returncode != 0
    assert port in done.stderr + done.stdout
