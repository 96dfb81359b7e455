"""
Metrics for Prometheus: what the exchange counts anyhow, read when somebody asks.

Calls pay one addition in a dictionary each for it; labels are few, and no call has one of its own.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from zope.interface import implementer

from pbx.interfaces import ICallObserver
from pbx.operations.overview import OF_CALLS, sizes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from prometheus_client import Metric

    from pbx.call.call import Call
    from pbx.call.record import Record
    from pbx.service import PbxService


@implementer(ICallObserver)
class Tally:
    """
    Counts calls since the start.

    Attributes:
        begun: How many have come, or were made.
        ended: How many are over, by outcome.
        talked: Seconds that those together have lasted from their answers.
    """

    def __init__(self) -> None:
        self.begun = 0
        self.ended: Counter[str] = Counter()
        self.talked = 0.0

    def call_begun(self, call: Call) -> None:
        self.begun += 1

    def call_answered(self, call: Call) -> None:
        pass

    def call_diverted(self, call: Call, diverter: str, to: str, because: str) -> None:
        pass

    def call_ended(self, call: Call, record: Record) -> None:
        self.ended[record.outcome] += 1
        self.talked += record.duration


class Metrics:
    """
    All metrics of a server.

    Args:
        service: The server.
        tally: Is told of its calls.
        answered: HTTP requests by status.
    """

    def __init__(self, service: PbxService, tally: Tally, answered: Mapping[int, int]) -> None:
        self._service = service
        self._tally = tally
        self._answered = answered
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """As Prometheus reads them."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry need not collect before somebody asks."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Read all counters."""
        service = self._service
        sizes = sizes_of(service)
        for name in OF_CALLS:
            yield _gauge(name, f"The length of the table {name}, zero after the last call.", sizes[name])
        yield _counter("calls_begun", "Calls that have come or were made.", self._tally.begun)
        yield _counters("calls_ended", "Calls that are over, by outcome.", "outcome", self._tally.ended)
        yield _counter("talk_seconds", "Seconds from answer to end, of all calls that are over.", self._tally.talked)
        yield _gauge("registrations", "Devices that are registered.", len(service.location))
        dropped = {**service.guard.dropped, "crowd": service.driver.registers.dropped}
        yield _counters("messages_dropped", "SIP messages that were not looked at, by reason.", "reason", dropped)
        yield _counter(
            "failures", "What has broken in the receive path; the log has the first of each kind.", sum(service.driver.failures.values())
        )
        lag = service.watchdog.lag if service.watchdog is not None else None
        yield _gauge("loop_lag_seconds", "How late the last timer came.", lag.last if lag else 0.0)
        yield _gauge("loop_lag_worst_seconds", "How late the worst timer came since the start.", lag.worst if lag else 0.0)
        yield _counter("times_behind", "Times that datagrams began to wait too long, and calls to be refused.", service.driver.times_behind)
        yield _gauge("refusing_calls", "1 while new calls are refused: starting, overloaded or shutting down.", bool(service.refusing()))
        yield _counters("http_requests", "HTTP requests that were answered, by status.", "status", self._answered)
        tables = GaugeMetricFamily("pbx_table_entries", "The length of each table that stands.", labels=["table"])
        for name, length in sizes["standing"].items():
            tables.add_metric([name], length)
        yield tables


def _gauge(name: str, help: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"pbx_{name}", help, value=value)


def _counter(name: str, help: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"pbx_{name}", help, value=value)


def _counters(name: str, help: str, label: str, values: Mapping[Any, float]) -> CounterMetricFamily:
    family = CounterMetricFamily(f"pbx_{name}", help, labels=[label])
    for key, value in values.items():
        family.add_metric([str(key)], value)
    return family
