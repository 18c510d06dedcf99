"""What the operator may set about upgrades, with defaults."""

import msgspec

S_MAX = 86_400.0


class UpgradeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[upgrade]: how a new version of the rules is checked, tried and judged."""

    canary_share: float = 0.05  # of the accounts that run the new version first
    canary_s: float = 60.0  # how long only they do
    watch_s: float = 300.0  # then all do; so long the old version is ready to take over
    failures_max: int = 0  # messages that fail on the new version only; one more rolls back
    slower_max: float = 3.0  # CPU time for a type of message, in times of the old version
    slower_us_min: float = 25.0  # and at least so much more, microseconds
    samples_min: int = 100  # messages of a type before its time and effects are compared
    effects_tolerance: float = 0.5  # of a kind of effect per message, as a part of the old rate
    effects_roll_back: bool = False  # true: such a difference rolls back; false: it is noted
    worlds: int = 24  # simulated worlds that must hold, 0 for none
    check_s_max: float = 300.0  # for all checks together
    kept_max: int = 5  # accepted versions that are kept in the data folder
    reload_at_start: bool = True  # an accepted version is loaded again after a restart
    starts_max: int = 3  # starts in a row that ended early, then it is left out

    def mistake(self) -> str:
        """What is wrong, beginning with the key; empty if all is well."""
        if not 0 < self.canary_share <= 1:
            return "canary_share: write a part of all accounts, like 0.05"
        for name in ("canary_s", "watch_s", "check_s_max"):
            if not 0 <= getattr(self, name) <= S_MAX:
                return f"{name}: write seconds from 0 to 86400"
        if self.check_s_max < 1:
            return "check_s_max: write at least 1 second"
        if not self.slower_max > 1:
            return "slower_max: write a number above 1, like 3.0"
        for name in ("slower_us_min", "effects_tolerance"):
            if not 0 <= getattr(self, name) < 10**9:
                return f"{name}: write a number from 0"
        for name, least in (("failures_max", 0), ("samples_min", 1), ("worlds", 0)):
            if not least <= getattr(self, name) <= 10_000:
                return f"{name}: write a number from {least} to 10000"
        for name in ("kept_max", "starts_max"):
            if not 1 <= getattr(self, name) <= 100:
                return f"{name}: write a number from 1 to 100"
        return ""
