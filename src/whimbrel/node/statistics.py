"""Statistics: one flat table of numbers about everything that queues, counts or waits."""

import resource
import time

from whimbrel.edge.listener import Listener
from whimbrel.node.audit import Auditor
from whimbrel.node.company import Company
from whimbrel.node.interpreter import Interpreter
from whimbrel.node.storing import NodeStore
from whimbrel.runtime.engine import Engine


class Statistics:
    def __init__(
        self,
        engine: Engine,
        host: Interpreter,
        store: NodeStore,
        listener: Listener,
        auditor: Auditor,
        company: Company | None = None,
    ) -> None:
        self._auditor = auditor
        self._company = company
        self._engine = engine
        self._host = host
        self._store = store
        self._listener = listener

    def flat(self) -> dict[str, float]:
        """Names end in their unit where they have one."""
        engine, store = self._engine, self._store.statistics
        now_us = time.monotonic_ns() // 1000
        table: dict[str, float] = {
            "ready": float(engine.ready),
            "actors": len(engine.cells),
            "timers": len(engine.timers),
            "batch_number": engine.committed,
            "resident_max_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        }
        table.update(engine.queue_gauge.snapshot(now_us))
        table.update({f"engine_{name}": value for name, value in engine.counts.items()})
        table.update({f"rules_{name}": value for name, value in self._host.counts.items()})
        table.update({f"edge_{name}": value for name, value in self._listener.statistics().items()})
        table.update(self._auditor.statistics())
        if self._company is not None:
            table.update(self._company.snapshot())
        for name in store.__struct_fields__:
            table[f"store_{name}"] = float(getattr(store, name))
        return table
