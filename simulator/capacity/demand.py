"""What a purchase must serve, and what it may take: agents, growth, reserve, limits and prices. Read from a scenario's ``size`` section."""

from dataclasses import dataclass, field

from simulator.capacity.document import Section
from simulator.document import wrap
from simulator.errors import Mistake
from simulator.hardware.power import BASES
from simulator.hardware.quality import Field
from simulator.hardware.spec import Schema, Spec, read_fields

PRICES = ("own", "rent", "buy")
"""What an hour is paid by: the profile's cost of owning a GPU, its rental, or capital written off with electricity on top."""

TARIFF: Schema = {
    "electricity_usd_per_kwh": Spec("number", "USD/kWh", 0, 10),
    "written_off_years": Spec("number", "years", 0.1, 30),
}
USUAL = {
    "electricity_usd_per_kwh": Field(
        "electricity_usd_per_kwh", 0.08, "USD/kWh", "judgement: no tariff was at hand; give your site's own", "assumed"
    ),
    "written_off_years": Field(
        "written_off_years", 4.0, "years", "judgement: as long as one generation of GPUs is usually kept", "assumed"
    ),
}
"""What stands where a scenario says nothing of its site."""


@dataclass(frozen=True)
class Limits:
    """What a purchase may not exceed; None where nothing is set. Power counts on one named basis, systems are racks or nodes."""

    power_mw: float | None = None
    power_basis: str = "facility"
    systems: int | None = None
    capital_usd: float | None = None
    usd_per_hour: float | None = None

    @property
    def any(self) -> bool:
        """Whether something is limited."""
        return any(limit is not None for limit in (self.power_mw, self.systems, self.capital_usd, self.usd_per_hour))


@dataclass(frozen=True)
class Demand:
    """What is asked of a purchase.

    Attributes
    ----------
    agents : int or None
        Agents at work at once on the first day; None asks for as many as the limits allow.
    growth_per_year : float
        Share by which they grow each year, compounded over ``growth_years``; the purchase is for the last of them.
    growth_years : int
    headroom_share : float
        Agents that must be held beyond the demand, as a share of it.
    spare : int
        Instances beyond those that hold the demand: 1 for N+1.
    limits : Limits
    price : {"own", "rent", "buy"}
        By which plans are ranked and the limit per hour counts; all are reported.
    tariff : mapping of str to Field
        Of the site: ``electricity_usd_per_kwh`` and ``written_off_years``, with source and quality.
    """

    agents: int | None = None
    growth_per_year: float = 0.0
    growth_years: int = 0
    headroom_share: float = 0.0
    spare: int = 0
    limits: Limits = Limits()
    price: str = "own"
    tariff: dict[str, Field] = field(default_factory=lambda: dict(USUAL))

    def agents_in(self, year: int) -> float:
        """Agents at work after so many years; nan where no number is asked for."""
        return float("nan") if self.agents is None else self.agents * (1 + self.growth_per_year) ** year

    @property
    def grown(self) -> float:
        """Agents in the last year."""
        return self.agents_in(self.growth_years)


KEYS = (
    "agents", "growth_per_year", "growth_years", "headroom_share", "spare", "power_mw", "power_basis", "systems", "capital_usd",
    "usd_per_hour", "price", *TARIFF,
)  # fmt: skip


def read_demand(top: Section) -> Demand | None:
    """The ``size`` section of a scenario; None where it has none. Mistakes are noted in the section."""
    section, usual = top.section("size"), Demand()
    if section is None:
        return None
    section.only(*KEYS)
    limits = Limits(
        power_mw=_optional(section, "power_mw"),
        power_basis=section.word("power_basis", BASES, usual.limits.power_basis),
        systems=None if section.values.get("systems") is None else section.count("systems", low=1),
        capital_usd=_optional(section, "capital_usd"),
        usd_per_hour=_optional(section, "usd_per_hour"),
    )
    agents = None if section.values.get("agents") is None else section.count("agents", low=1)
    if agents is None and not limits.any:
        section.refuse("agents", "nothing", "a whole number >= 1", "or limit power_mw, systems, capital_usd or usd_per_hour")
    return Demand(
        agents=agents,
        growth_per_year=section.number("growth_per_year", 0.0, -0.99, 100),
        growth_years=section.count("growth_years", 0),
        headroom_share=section.number("headroom_share", 0.0, 0, 100),
        spare=section.count("spare", 0),
        limits=limits,
        price=section.word("price", PRICES, usual.price),
        tariff=_tariff(section),
    )


def _optional(section: Section, key: str) -> float | None:
    return None if section.values.get(key) is None else section.number(key, above=True)


def _tariff(section: Section) -> dict[str, Field]:
    """Prices of the site: whole fields with source and quality, or bare values, which are assumed."""
    raw = {key: wrap(section.values[key]) for key in TARIFF if section.values.get(key) is not None}
    found: list[Mistake] = []
    given = read_fields(raw, TARIFF, section.document.file, found, bare_allowed=True, place="size.")
    section.mistakes.extend(found)
    return USUAL | given
