"""Every target, for a bounded number of executions; longer with `make soak`.

What fuzzing has found stands below as named tests, so that it stays mended without luck.
"""

from pathlib import Path

import pytest

from tests.fuzz.guided import Report, Target, fuzz
from tests.fuzz.targets import BODIES, TARGETS
from whimbrel.client import signup
from whimbrel.client.errors import Unreachable, wait_text
from whimbrel.client.words import read_content
from whimbrel.edge.http.keys import same_token
from whimbrel.node.config import ConfigError, load_config

EXECUTIONS = 6_000
SOAK_S = 120.0
SEED = 7

every_target = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)


def shown(report: Report) -> str:
    return "\n".join(f"{place}: {data!r}" for place, data in report.findings.items())


@every_target
def test_any_bytes_are_understood_or_refused_by_name(target: Target) -> None:
    report = fuzz(target, SEED, executions=EXECUTIONS)
    assert not report.findings, shown(report)
    assert report.executions == EXECUTIONS + len(target.seeds)


@pytest.mark.soak
@every_target
def test_any_bytes_for_a_long_time(target: Target) -> None:
    report = fuzz(target, SEED + 1, seconds=SOAK_S)
    assert not report.findings, shown(report)


# ---- the engine itself ------------------------------------------------------------------


def hidden(data: bytes) -> str:
    """A bug behind four conditions: blind chance meets it once in 2**32."""
    if data[:1] == b"B":
        if data[1:2] == b"U":
            if data[2:3] == b"G":
                if data[3:4] == b"!":
                    raise RuntimeError("found")
                return "three"
            return "two"
        return "one"
    return "none"


LETTERS = tuple(b"%c" % letter for letter in b"!?BGUXYZ")
HIDDEN = Target("hidden", "", hidden, (b"....",), LETTERS, ("tests",))


def test_a_bug_behind_four_conditions_is_found_and_only_with_guidance() -> None:
    report = fuzz(HIDDEN, SEED, executions=20_000)
    (place,) = report.findings
    assert place.startswith("RuntimeError at hidden:")
    assert report.findings[place][:4] == b"BUG!"
    blind = Target("blind", "", lambda data: hidden(data)[:0], HIDDEN.seeds, LETTERS, ())
    assert not fuzz(blind, SEED, executions=20_000).findings


def test_the_same_seed_gives_the_same_run() -> None:
    target = next(each for each in TARGETS if each.name == "configuration")
    one, two, other = (fuzz(target, seed, executions=300) for seed in (1, 1, 2))
    assert (one.corpus, one.arcs) == (two.corpus, two.arcs)
    assert one.corpus != other.corpus


# ---- what was found ---------------------------------------------------------------------

DEEP_JSON = b'{"x":' * 3_000 + b"1" + b"}" * 3_000


def test_a_body_nested_without_end_says_nothing_to_a_client() -> None:
    assert read_content(b"\x81\xa1x" * 3_000 + b"\xc0") == read_content(b"\x80")
    assert BODIES[0] == {"text": read_content(b"\x81\xa4text\xa2hi").text}


@pytest.mark.parametrize(
    "answer",
    [
        DEEP_JSON,
        b'{"error":{"code":"\xed\xa0\x80"}}',
        b'{"error":{"code":"busy","retry_after_s":%d}}' % 10**400,
        b'{"expires_in_s":1,"retry_after_s":%d}' % 10**400,
        b'{"account":"a","device":1,"key":"\xff","created":true,"native":{"host":"h","port":1}}',
        b'{"account":"a","device":1,"key":"k","created":true,"native":{"host":"h","port":65536}}',
    ],
    ids=["deep", "no UTF-8", "a long wait", "a long wait, good", "no UTF-8, good", "no port"],
)
def test_a_server_that_answers_nonsense_is_not_ours(answer: bytes) -> None:
    assert isinstance(signup._refusal(503, answer), Unreachable)
    for kind in (signup.PinSent, signup.SignedUp):
        with pytest.raises(Unreachable):
            signup._decode(answer, kind)


def test_the_longest_wait_that_a_server_may_name_can_be_said() -> None:
    assert wait_text(2**53 - 1).endswith(" hours")


def test_a_token_that_is_no_text_is_a_wrong_one() -> None:
    assert not same_token("\udcff", "token")
    assert not same_token("\udcff", "")


def test_a_configuration_nested_without_end_is_not_valid(tmp_path: Path) -> None:
    file = tmp_path / "whimbrel.toml"
    file.write_text("domain = " + "[" * 3_000)
    with pytest.raises(ConfigError, match="nested too deeply"):
        load_config(file)
