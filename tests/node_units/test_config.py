"""The configuration: every key has a default and a line in the documentation; every mistake
is named with its key.
"""

from pathlib import Path

import msgspec
import pytest

from whimbrel.node.config import Config, ConfigError, load_config

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def read(tmp_path: Path, text: str) -> Config:
    file = tmp_path / "whimbrel.toml"
    file.write_text(text)
    return load_config(file)


def test_without_a_file_everything_has_a_default() -> None:
    assert load_config(None) == Config()


def test_an_empty_file_is_the_same(tmp_path: Path) -> None:
    assert read(tmp_path, "") == Config()


def test_every_key_can_be_written_as_it_is_by_default(tmp_path: Path) -> None:
    """What is shown as default is accepted as a value."""
    lines = []
    tables = []
    for name in Config.__struct_fields__:
        value = getattr(Config(), name)
        if isinstance(value, msgspec.Struct):
            tables.append(f"[{name}]")
            tables += [
                f"{key} = {msgspec.json.encode(getattr(value, key)).decode()}"
                for key in value.__struct_fields__
                if not isinstance(getattr(value, key), dict)
            ]
        else:
            lines.append(f"{name} = {msgspec.json.encode(value).decode()}")
    assert read(tmp_path, "\n".join(lines + tables)) == Config()


def test_every_key_stands_on_the_page() -> None:
    page = PAGE.read_text()
    for name in Config.__struct_fields__:
        assert name in page
        value = getattr(Config(), name)
        if isinstance(value, msgspec.Struct):
            for key in value.__struct_fields__:
                assert f"`{key}`" in page, f"{name}.{key}"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("nonsense = 1", "nonsense"),
        ("[listen]\nnative = 'x'", "listen.native"),
        ("[listen]\nnative = 65536", "listen.native"),
        ("[listen]\nhttp = -2", "listen.http"),
        ("[limits]\nframe_bytes_max = 'many'", "limits.frame_bytes_max"),
        ("[limits]\nretry_first_s = -1.0", "limits.retry_first_s"),
        ("[limits]\nmailbox_max = 0", "limits.mailbox_max"),
        ("[tls]\nkey = 'a'", "tls"),
        ("[log]\nformat = 'xml'", "log.format"),
        ("[log]\nlevel = ''", "log.level"),
        ("[sms]\nsender = 5", "sms.sender"),
        ("domian = 'x'", "domian: there is no such key, but domain"),
        ("[listen]\nports = 1", "listen.ports: there is no such key"),
        ("[limits]\nmailbox_mx = 5", "limits.mailbox_mx: there is no such key, but mailbox_max"),
        ("[signup]\npins = 5", "signup.pins"),
        ("[nonsense]\nkey = 5", "nonsense: there is no such key"),
        ("limits = 5", "limits"),
        ("[limits]\nretry_first_s = nan", "limits.retry_first_s"),
        ("[limits]\nretry_first_s = inf", "limits.retry_first_s"),
        ("[limits]\nledger_s = 1_000_000_000_000", "limits.ledger_s"),
        ("[limits]\nmailbox_max = true", "limits.mailbox_max"),
        ("[limits]\nmailbox_max = 1.5", "limits.mailbox_max"),
        ("[limits]\nbody_bytes_max = 65_536", "limits.body_bytes_max"),
        ("[signup]\nnumber_waits_s = [5, 1]", "signup.number_waits_s"),
        ("[signup]\nnumber_waits_s = [1, 1_000_000_000_000]", "signup.number_waits_s"),
        ("[signup]\nper_prefix_of = {'+49' = 'many'}", "signup.per_prefix_of"),
        ("[signup]\npin_digits = 3", "signup.pin_digits"),
        ("domain = ''", "domain"),
        ("data = ''", "data"),
        ("[listen]\nhost = ''", "listen.host"),
        ("default_region = 'Germany'", "default_region"),
        ("[tls]\ncertificate = 'a'", "tls"),
    ],
)
def test_a_mistake_is_named_with_its_key(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(ConfigError, match=key.replace(".", r"\.")):
        read(tmp_path, text)


def test_the_options_of_a_sender_are_the_senders_own_affair(tmp_path: Path) -> None:
    config = read(tmp_path, '[sms]\nsender = "webhook"\n[sms.options]\nurl = "https://x"\n')
    assert config.sms.options == {"url": "https://x"}


def test_relative_paths_stay_relative_to_where_the_server_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "w.toml").write_text('data = "var"\n[tls]\ncertificate="c"\nkey="k"\n')
    monkeypatch.chdir(tmp_path)
    config = load_config(Path("etc/w.toml"))
    assert (config.data, config.tls.certificate, config.tls.key) == ("var", "c", "k")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        load_config(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("data", [b"domain = ", b"\xff\xfe", b"[a\n"])
def test_what_is_not_toml_is_named(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "whimbrel.toml"
    file.write_bytes(data)
    with pytest.raises(ConfigError, match="TOML"):
        load_config(file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[web]\norigins = ["chat.example.org"]', "web.origins"),
        ('[web]\norigins = ["https://chat.example.org/page"]', "web.origins"),
        ('[web]\norigins = ["*"]', "web.origins"),
        ('[web]\ntrusted_proxies = ["10.0.0.1/8"]', "web.trusted_proxies"),
        ('[web]\ntrusted_proxies = ["proxy"]', "web.trusted_proxies"),
    ],
)
def test_who_may_come_by_http_is_checked_and_the_key_is_named(
    tmp_path: Path, text: str, words: str
) -> None:
    file = tmp_path / "w.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_config(file)


def test_passwords_may_lie_in_files_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "db").write_text("p@ss/word\n")
    (tmp_path / "nats").write_text("other\n")
    config = read(
        tmp_path,
        '[store]\nurl = "postgresql://whimbrel@one,two:5433/w"\n'
        f'password_file = "{tmp_path}/db"\n[bus]\nurl = "nats://one:4222"\nuser = "whimbrel"\n'
        f'password_file = "{tmp_path}/nats"\n',
    )
    assert config.store.url == "postgresql://whimbrel:p%40ss%2Fword@one,two:5433/w"
    assert config.bus.password == "other"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[bus]\nurl = "nats://one:4222"', "store.url: several nodes need a PostgreSQL"),
        ('[store]\nurl = "postgresql://a@b/c"', "bus.url: several nodes need NATS"),
        ('[store]\nurl = "mysql://a@b/c"', "store.url: write"),
        ('[store]\nurl = "postgresql://b/c"\npassword_file = "x"', "store.password_file: url has"),
        (
            '[store]\nurl = "postgresql://a:p@b/c"\npassword_file = "x"',
            "store.password_file: give",
        ),
        (
            '[store]\nurl = "postgresql://a@b/c"\npassword_file = "nowhere"\n'
            '[bus]\nurl = "nats://one:4222"',
            "store.password_file: nowhere cannot be read",
        ),
        ('[bus]\nurl = "nats://one"\npassword_file = "x"', "bus.user: give both"),
        (
            '[bus]\nurl = "nats://one"\nuser = "u"\npassword = "p"\npassword_file = "x"',
            "bus.password_file: give",
        ),
    ],
)
def test_two_lines_make_several_nodes_and_one_alone_is_refused(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        read(tmp_path, text)
