"""What a comparison found, as values; and the same as JSON, with no more in it than the report shows."""

import json
from dataclasses import asdict, dataclass, field, fields

# Of a run of load, beside the figures of its scenario's rows.
KEPT = ("unit", "units", "rate", "resumed")
PLOTTED = ("storm", "roundtrip-1", "roundtrip-1000")  # whose latencies are drawn


@dataclass
class Record:
    """One run of one peer in one scenario. `result` is load's JSON, also where the run is not ok."""
    scenario: str
    peer: str
    repeat: int
    ok: bool = False
    problem: str = ""
    result: dict | None = None

    def kept(self, metrics):
        """The same with what the report needs of the result: `metrics` are those of the scenario's rows."""
        if self.result is None:
            return self
        names = {*KEPT, *(metric.split(".")[0] for metric in metrics)}
        result = {name: value for name, value in self.result.items() if name in names}
        if "latency_us" in self.result and self.scenario in PLOTTED:
            result["latency_us"] = self.result["latency_us"]
        return Record(self.scenario, self.peer, self.repeat, self.ok, self.problem, result)


@dataclass
class Check:
    """What a fit peer agreed on with a device, asked once for each configuration."""
    peer: str
    key: str
    intermediate: bool
    protocol: str
    cipher: str
    group: str
    tickets: int
    as_wanted: bool = True


@dataclass
class Point:
    """One point of a scaling curve: figures at `x` connections or devices; None: not measured. See scale and devices."""
    x: int | None
    problem: str = ""
    handshake_us: float | None = None
    message_us: float | None = None
    first_us: float | None = None
    both_us: float | None = None
    known_rate: float | None = None
    registered_rate: float | None = None
    waiting_most: float | None = None
    warm_seconds: float | None = None
    read_seconds: float | None = None
    pss_mib: float | None = None
    fill_seconds: float | None = None
    runs: dict = field(default_factory=dict)  # every run's figures, by name; not kept

    def add(self, name, figure, choose):
        """One run more: the point's figure is what `choose` makes of all."""
        self.runs.setdefault(name, []).append(figure)
        setattr(self, name, choose(self.runs[name]))


@dataclass
class Comparison:
    """A whole run."""
    kind: str  # Full, Quick or Partial
    date: str
    commit: str
    machine: dict
    versions: dict
    scenarios: list  # {"name", "rows": [{"title", "metric", "unit", "goal"}], "load"}
    records: list = field(default_factory=list)
    scale_connections: dict = field(default_factory=dict)  # a list of points for each peer
    scale_devices: list = field(default_factory=list)
    checks: list = field(default_factory=list)
    how_often: str = ""
    minutes: float = 0.0

    def to_json(self):
        metrics = {each["name"]: [row["metric"] for row in each["rows"]] for each in self.scenarios}
        plain = asdict(Comparison(**{**{each.name: getattr(self, each.name) for each in fields(self)},
                                     "records": [each.kept(metrics[each.scenario]) for each in self.records]}))
        for point in [*plain["scale_devices"], *(each for curve in plain["scale_connections"].values()
                                                 for each in curve)]:
            del point["runs"]
        return "{\n" + ",\n".join(f" {json.dumps(name)}: {lines_of(value)}"
                                  for name, value in without_nothing(plain).items()) + "\n}\n"

    @staticmethod
    def from_json(text):
        plain = json.loads(text)
        known = {each.name for each in fields(Point)}

        def points(curve):
            return [Point(**{"x": None, **{key: value for key, value in each.items() if key in known}})
                    for each in curve]

        plain["records"] = [Record(**{"result": None, **each}) for each in plain["records"]]
        plain["checks"] = [Check(**each) for each in plain["checks"]]
        plain["scale_devices"] = points(plain.get("scale_devices") or [])
        plain["scale_connections"] = {peer: points(curve)
                                      for peer, curve in (plain.get("scale_connections") or {}).items()}
        return Comparison(**plain)


def lines_of(value):
    """JSON with a line for each member of a list, so that a run's changes can be read."""
    if not isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    return "[\n  " + ",\n  ".join(json.dumps(each, ensure_ascii=False) for each in value) + "\n ]"


def without_nothing(value):
    """Without the members that are None: a figure that is missing was not measured."""
    if isinstance(value, dict):
        return {key: without_nothing(each) for key, each in value.items() if each is not None}
    return [without_nothing(each) for each in value] if isinstance(value, list) else value
