"""What a row of the fault table says."""

import statistics
from collections.abc import Sequence

import msgspec

_WIDTH = 16


class Row(msgspec.Struct):
    """One fault. its_s, others_s, partners_s: outages of people in each round, in seconds."""

    name: str
    what: str
    rounds: int = 0
    count: dict[str, int] = {}
    its_s: list[float] = []
    others_s: list[float] = []
    partners_s: list[float] = []
    round_s: list[float] = []
    stuck: str = ""

    @property
    def broken(self) -> bool:
        """Was a law broken, or is somebody still waiting?"""
        wrong = [n for name, n in self.count.items() if name != "acknowledged"]
        return bool(self.stuck) or any(wrong) or not self.count.get("acknowledged")

    def figures(self) -> dict[str, float]:
        figures: dict[str, float] = {"rounds": self.rounds, **self.count}
        for name, all_s in (
            ("its_users", self.its_s),
            ("others", self.others_s),
            ("partners", self.partners_s),
        ):
            if all_s:
                figures[f"{name}_median_s"] = statistics.median(all_s)
                figures[f"{name}_max_s"] = max(all_s)
        return figures


def head() -> str:
    return (
        f"{'fault':<{_WIDTH}}{'rounds':>7}{'acked':>9}{'lost':>5}{'twice':>6}{'order':>6}"
        f"{'marks':>6}{'lies':>5}  {'its users (s)':>15}  {'others (s)':>13}\n"
        f"{'':<{_WIDTH + 44}}  {'median     max':>15}  {'median    max':>13}"
    )


def line(row: Row) -> str:
    count = row.count
    return (
        f"{row.name:<{_WIDTH}}{row.rounds:>7}{count['acknowledged']:>9,}{count['lost']:>5}"
        f"{count['shown_twice']:>6}{count['out_of_order']:>6}{count['second_mark_missing']:>6}"
        f"{count['marks_that_lie']:>5}  {_two(row.its_s, 7, 8)}  {_two(row.others_s, 6, 7)}"
    )


def _two(all_s: Sequence[float], first: int, second: int) -> str:
    if not all_s:
        return f"{'-':>{first}}{'-':>{second}}"
    return f"{statistics.median(all_s):>{first}.2f}{max(all_s):>{second}.2f}"
