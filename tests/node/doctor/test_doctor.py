"""The doctor finds what is wrong, each on a patient that really has it, and says what to do."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench.server import Server
from tests.node.doctor.name_server import name_server
from whimbrel.edge.certificate import self_signed
from whimbrel.node.config import Config, Listen, Tls
from whimbrel.node.doctor import certificate, data, disk, machine, names, ports
from whimbrel.node.doctor.finding import Finding, Patient, bad, exit_code, good, unknown, warning
from whimbrel.storage.opening import FILE

DOMAIN = "chat.example.org"


def levels(findings: list[Finding]) -> dict[str, str]:
    return {finding.subject: finding.level for finding in findings}


@contextmanager
def taken() -> Iterator[int]:
    """A port that another program holds."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def listening(port: int) -> Listen:
    off = -1
    return Listen(
        host="127.0.0.1", native=port, https=off, http=off, xmpp=off, xmpp_tls=off, xmpp_plain=off
    )


# ---- ports ------------------------------------------------------------------------------


def test_a_port_that_somebody_else_holds_is_bad(tmp_path: Path) -> None:
    with taken() as port:
        (found,) = ports.check(Patient(Config(listen=listening(port)), tmp_path))
    assert (found.level, found.what) == ("bad", "Address already in use")
    assert str(port) in found.advice


def test_a_free_port_is_good(tmp_path: Path) -> None:
    with taken() as port:
        pass
    (found,) = ports.check(Patient(Config(listen=listening(port)), tmp_path))
    assert (found.level, found.what) == ("good", "free")


def test_a_server_without_a_door_is_bad(tmp_path: Path) -> None:
    assert levels(ports.check(Patient(Config(listen=listening(-1)), tmp_path))) == {"ports": "bad"}


# ---- the certificate --------------------------------------------------------------------


def authority(folder: Path, domain: str, days: int, begins: int = -1) -> tuple[Path, Path]:
    """A certificate that an unknown authority has signed."""
    key, issuer = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, domain)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Some Authority")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=begins))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(domain)]), critical=False)
        .sign(issuer, hashes.SHA256())
    )
    pem, secret = folder / "chain.pem", folder / "key.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    secret.chmod(0o600)
    return pem, secret


def with_tls(folder: Path, pem: Path, key: Path, domain: str = DOMAIN) -> list[Finding]:
    config = Config(domain=domain, tls=Tls(str(pem), str(key)))
    return certificate.check(Patient(config, folder))


def test_a_certificate_that_has_ended_is_bad(tmp_path: Path) -> None:
    found = with_tls(tmp_path, *authority(tmp_path, DOMAIN, days=-1, begins=-9))
    assert found[0].level == "bad"
    assert found[0].what.startswith("it ended on")


def test_one_that_ends_soon_is_a_warning(tmp_path: Path) -> None:
    found = with_tls(tmp_path, *authority(tmp_path, DOMAIN, days=5))
    assert found[0].level == "warning"
    assert "renew" in found[0].advice


def test_one_whose_issuer_is_not_known_is_refused_by_clients(tmp_path: Path) -> None:
    found = with_tls(tmp_path, *authority(tmp_path, DOMAIN, days=90))
    assert levels(found) == {
        "certificate": "good",
        "certificate's key": "good",
        "certificate's trust": "bad",
    }
    assert "fullchain.pem" in found[2].advice


def test_a_key_that_does_not_fit_is_bad(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    pem, _ = authority(tmp_path, DOMAIN, days=90)
    _, key = authority(tmp_path / "other", DOMAIN, days=90)
    assert levels(with_tls(tmp_path, pem, key))["certificate's key"] == "bad"


def test_a_key_that_everybody_may_read_is_a_warning(tmp_path: Path) -> None:
    pem, key = authority(tmp_path, DOMAIN, days=90)
    key.chmod(0o644)
    assert levels(with_tls(tmp_path, pem, key))["certificate's key"] == "warning"


def test_a_self_signed_one_is_told_and_so_is_a_wrong_name(tmp_path: Path) -> None:
    self_signed(tmp_path, DOMAIN)
    fits = certificate.check(Patient(Config(domain=DOMAIN), tmp_path))
    other = certificate.check(Patient(Config(domain="elsewhere.example"), tmp_path))
    assert fits[2].what.startswith("self-signed: browsers")
    assert "not elsewhere.example" in other[2].what


def test_a_file_that_is_no_certificate_is_bad(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("hello")
    (found,) = with_tls(tmp_path, tmp_path / "x.pem", tmp_path / "x.pem")
    assert "it is no PEM certificate" in found.what


# ---- names ------------------------------------------------------------------------------


def asking(port: int, listen: Listen, folder: Path, domain: str = DOMAIN) -> list[Finding]:
    config = Config(domain=domain, listen=listen)
    patient = Patient(config, folder, nameservers=("127.0.0.1",), dns_port=port)
    return names.check(patient)


def test_records_are_compared_with_the_ports(tmp_path: Path) -> None:
    answers: dict[tuple[str, str], str | int] = {
        (DOMAIN, "A"): "192.0.2.7",
        (f"_xmpp-client._tcp.{DOMAIN}", "SRV"): 5222,
        (f"_xmpps-client._tcp.{DOMAIN}", "SRV"): 443,
    }
    with name_server(answers) as port:
        found = {f.subject: f for f in asking(port, Listen(), tmp_path)}
    assert found[f"name {DOMAIN}"].what == "leads to 192.0.2.7"
    assert found["SRV _xmpp-client"].level == "good"
    wrong = found["SRV _xmpps-client"]
    assert (wrong.level, wrong.what) == (
        "warning", "leads to port 443; the server listens on 5223",
    )  # fmt: skip
    assert found["host-meta"].level == "unknown"


def test_a_record_that_is_missing_is_told_as_it_should_be(tmp_path: Path) -> None:
    with name_server({(DOMAIN, "A"): "192.0.2.7"}) as port:
        found = {f.subject: f for f in asking(port, Listen(xmpp=5555), tmp_path)}
    assert found["SRV _xmpp-client"].advice == (
        f"add _xmpp-client._tcp.{DOMAIN}. SRV 0 5 5555 {DOMAIN}."
    )


def test_a_name_without_an_address_is_bad(tmp_path: Path) -> None:
    with name_server({}) as port:
        assert asking(port, Listen(), tmp_path)[0].level == "bad"


def test_where_nobody_can_be_asked_that_is_said_and_no_fault(tmp_path: Path) -> None:
    with taken() as port:
        found = asking(port, Listen(), tmp_path)
    assert [finding.level for finding in found] == ["unknown"]
    assert "could not ask" in found[0].what
    assert exit_code(found) == 0


@pytest.mark.parametrize("domain", ["localhost", "127.0.0.1", "chat.test"])
def test_names_of_this_machine_are_not_looked_up(domain: str, tmp_path: Path) -> None:
    assert asking(1, Listen(), tmp_path, domain)[0].level == "good"


# ---- disk, machine, data ----------------------------------------------------------------


def test_the_disk_is_measured_also_where_the_folder_is_not_yet(tmp_path: Path) -> None:
    found = disk.check(Patient(Config(), tmp_path / "not" / "yet"))
    assert "an fsync takes" in found[0].what
    assert not (tmp_path / "not").exists()


def test_a_disk_in_memory_is_bad() -> None:
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("no tmpfs here")
    assert levels(disk.check(Patient(Config(), Path("/dev/shm/whimbrel"))))["file system"] == "bad"


def test_too_few_open_files_are_told_with_the_number(tmp_path: Path) -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (600, 600));"
        "from pathlib import Path; from whimbrel.node.config import Config;"
        "from whimbrel.node.doctor.finding import Patient;"
        "from whimbrel.node.doctor import machine;"
        "print([f.level + f.advice for f in machine.check(Patient(Config(), Path('.')))"
        " if f.subject == 'open files'])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "badLimitNOFILE=50512" in said.stdout


def test_the_machine_is_looked_at_whole(tmp_path: Path) -> None:
    found = levels(machine.check(Patient(Config(), tmp_path)))
    assert set(found) == {"clock", "clock's pace", "open files", "memory", "accept queue"}


def test_a_damaged_database_is_bad(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with Server(tmp_path):
        pass
    file = folder / FILE
    with apsw.Connection(str(file)) as db:
        page = db.pragma("page_size")
    with open(file, "r+b") as damaged:
        damaged.seek(page * 3)
        damaged.write(os.urandom(page * 2))
    found = {each.subject: each for each in data.check(Patient(Config(), folder))}
    assert found["database"].level == "bad"
    assert "restore" in found["database"].advice


def test_a_folder_that_others_may_read_is_a_warning(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    assert levels(data.check(Patient(Config(), folder)))["data folder"] == "warning"


# ---- the command ------------------------------------------------------------------------


def test_exit_codes() -> None:
    fine, maybe = good("a", "b"), unknown("a", "b")
    assert exit_code([fine, maybe]) == 0
    assert exit_code([fine, warning("a", "b", "c")]) == 1
    assert exit_code([warning("a", "b", "c"), bad("a", "b", "c")]) == 2


def command(*words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "whimbrel.cli.main", "doctor", *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)


def test_beside_a_running_server_its_ports_are_its_own(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        file, port = tmp_path / "real.toml", server.ready["native"]
        file.write_text(
            f'[listen]\nhost = "127.0.0.1"\nnative = {port}\nhttps = -1\nhttp = -1\nxmpp = -1\n'
            "xmpp_tls = -1\n"
        )
        done = command("--config", str(file), "--data", str(server.data), "--json")
        found = {each["subject"]: each for each in json.loads(done.stdout)}
        assert found["server"]["what"] == f"runs as process {server.pid}"
        assert found[f"port native {port}"]["what"] == "open, held by this server"
        assert found["database"]["level"] == "good"
        assert done.returncode == max(
            {"good": 0, "unknown": 0, "warning": 1, "bad": 2}[each["level"]]
            for each in found.values()
        )


def test_a_wrong_configuration_is_the_first_and_only_finding(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text("[listen]\nnativ = 1\n")
    done = command("--config", str(file))
    assert done.returncode == 2
    assert "listen.nativ" in done.stdout
    assert "1 bad" in done.stdout
