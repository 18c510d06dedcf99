"""Everything the doctor looks at, in the order in which people read it."""

from collections.abc import Callable, Iterator
from pathlib import Path

from whimbrel.node.config import ConfigError, load_config
from whimbrel.node.doctor import certificate, data, disk, installation, machine, names, ports
from whimbrel.node.doctor.finding import Finding, Patient, bad, good, unknown

CHECKS: tuple[Callable[[Patient], list[Finding]], ...] = (
    data.check,
    installation.check,
    disk.check,
    ports.check,
    certificate.check,
    names.check,
    machine.check,
)


def examine(file: Path | None, folder: Path | None, network: bool) -> Iterator[Finding]:
    """Findings as they come. A configuration that cannot be read ends it: the rest would guess."""
    try:
        config = load_config(file)
    except ConfigError as error:
        yield bad("configuration", str(error), "`whimbrel config --explain` tells every key")
        return
    yield good("configuration", str(file) if file is not None else "none: everything by default")
    where = folder if folder is not None else Path(config.data)
    patient = Patient(config, where, data.running_pid(where), network)
    for check in CHECKS:
        try:
            yield from check(patient)
        except OSError as error:
            subject = check.__module__.rpartition(".")[2]
            yield unknown(subject, f"could not look: {error.strerror or error}")
