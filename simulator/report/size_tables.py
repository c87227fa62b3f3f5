"""Tables and words of a purchase: plans side by side, how each is reckoned, and what would fit. Inputs are answers of `size`."""

from collections.abc import Callable, Iterator

from simulator.capacity.demand import PRICES, Demand
from simulator.capacity.plan import Bill, Plan, bases
from simulator.capacity.size import SizeAnswer
from simulator.report.phrases import BASES, number, percent, plain, promise, tier
from simulator.report.tables import Sheet

PRICE_WORDS = {"own": "owning", "rent": "renting", "buy": "buying"}
PRICE_MEANINGS = {
    "own": "the profile's cost of owning a GPU for an hour, all costs",
    "rent": "the profile's 3-year rental of a GPU for an hour",
    "buy": "capital written off over {years:g} years, and electricity of the facility at {tariff:g} USD/kWh; no hall, staff or interest",
}
LIMIT_WORDS = {"power_mw": "power", "systems": "systems", "capital_usd": "capital", "usd_per_hour": "money per hour"}


def size_sheets(found: SizeAnswer) -> list[Sheet]:
    """Plans side by side, the purchase by system, its power and its money; growth where some is asked for."""
    sheets = [plans_sheet(found), purchase_sheet(found), power_sheet(found), money_sheet(found)]
    return [*sheets, *([growth_sheet(found)] if any(plan.growth for plan in found.plans) else [])]


def plans_sheet(found: SizeAnswer) -> Sheet:
    """The cheapest and the least-power plan side by side."""
    if found.cheapest is found.least_power:
        plans = [("cheapest and\nleast power", found.cheapest), ("next cheapest", found.runner_up)]
    else:
        plans = [("cheapest", found.cheapest), ("least power", found.least_power)]
    shown = [(name, plan) for name, plan in plans if plan is not None]
    rows = tuple((title, *(said(plan) for _, plan in shown)) for title, said in _lines(found.demand))
    note = "" if shown else "no plan stays within the limits: the last lines say what would fit"
    return Sheet(
        f"The purchase for {asked(found.demand)}", ("", *(name for name, _ in shown)), rows if shown else (), "l" + "r" * len(shown), note
    )


def _lines(demand: Demand) -> Iterator[tuple[str, Callable[[Plan], str]]]:
    basis = demand.limits.power_basis
    yield "system", lambda p: plain(p.answer.system)
    yield "deployment of an instance", lambda p: plain(p.answer.deployment)
    yield "racks or nodes", lambda p: f"{p.bill.systems:,}"
    yield "GPUs, of which used", lambda p: f"{p.bill.gpus:,}, {p.bill.gpus_used:,}"
    yield "agents served", lambda p: f"{p.agents:,.0f}"
    yield "agents held, headroom", lambda p: f"{p.agents_held:,}, {percent(p.headroom_share)}"
    yield f"MW, {basis}", lambda p: number(getattr(p.bill.power_mw, basis))
    yield "capital, million USD", lambda p: number(p.bill.capital_usd / 1e6)
    yield f"USD/h, {PRICE_WORDS[demand.price]}", lambda p: number(p.bill.usd_per_hour[demand.price])
    yield "USD per agent-hour", lambda p: number(p.usd_per_agent_hour)
    yield "USD per finished trajectory", lambda p: number(p.usd_per_trajectory)
    yield "quality: agents, price", lambda p: f"{plain(p.answer.quality)}, {plain(p.price_quality)}"


def purchase_sheet(found: SizeAnswer) -> Sheet:
    """Every system's plan: what to buy, and whether it stays within the limits."""
    rows = tuple(
        (
            plain(p.answer.system),
            plain(p.answer.deployment),
            f"{p.answer.agents_held:,}",
            f"{p.answer.gpus:,}",
            f"{p.needed:,} + {found.demand.spare:,}" if found.demand.spare else f"{p.needed:,}",
            f"{p.bill.systems:,}",
            f"{p.bill.gpus:,}",
            f"{p.bill.gpus_used:,}",
            f"{p.agents_held:,}",
            percent(p.headroom_share),
            within(p),
            f"{p.most_agents:,}" if found.demand.limits.any else "–",
        )
        for p in found.plans
    ) + tuple((plain(a.system), plain(a.deployment), "0", f"{a.gpus:,}", *["–"] * 6, "holds no agent", "0") for a in found.without)
    columns = (
        "system", "deployment", "agents /\ninstance", "GPUs /\ninstance", "instances", "racks,\nnodes", "GPUs\nbought", "GPUs\nused",
        "agents\nheld", "head-\nroom", "within\nlimits", "most\nagents",
    )  # fmt: skip
    spread = [p for p in found.plans if p.systems_interval[0] != p.systems_interval[1]]
    parts = ", ".join(f"{plain(p.answer.deployment)} {p.systems_interval[0]:,}–{p.systems_interval[1]:,}" for p in spread)
    note = "an instance is one copy of the deployment; racks and nodes are bought whole, and GPUs left over idle"
    return Sheet("Purchases", columns, rows, "llrrrrrrrrlr", note + (f"; racks or nodes over the seeds' answers: {parts}" if parts else ""))


def power_sheet(found: SizeAnswer) -> Sheet:
    """MW on each basis."""
    rows = tuple((plain(p.answer.system), plain(p.answer.deployment), *map(number, bases(p.bill.power_mw).values())) for p in found.plans)
    columns = ("system", "deployment", *(_basis(basis) for basis in BASES))
    note = "all that is bought, at the watts of the held point; GPUs left over draw their idle watts"
    return Sheet("MW, by power basis", columns, rows, "llrrrr", note)


def money_sheet(found: SizeAnswer) -> Sheet:
    """What every plan costs, by each price."""
    rows = tuple(
        (
            plain(p.answer.system),
            plain(p.answer.deployment),
            number(p.bill.capital_usd / 1e6),
            *(number(p.bill.usd_per_hour[price]) for price in PRICES),
            number(p.usd_per_agent_hour),
            number(p.usd_per_trajectory),
            plain(p.price_quality),
        )
        for p in found.plans
    )
    columns = (
        "system", "deployment", "capital,\nmillion USD", *(f"USD/h,\n{PRICE_WORDS[price]}" for price in PRICES), "USD per\nagent-hour",
        "USD per\ntrajectory", "quality of\nthe price",
    )  # fmt: skip
    return Sheet(
        "Money", columns, rows, "llrrrrrrl", f"per agent-hour and trajectory by {PRICE_WORDS[found.demand.price]}. {prices(found.demand)}"
    )


def prices(demand: Demand) -> str:
    """What each price stands for, and how well the site's own are known."""
    years, tariff = demand.tariff["written_off_years"], demand.tariff["electricity_usd_per_kwh"]
    said = "; ".join(f"{PRICE_WORDS[p]}: {PRICE_MEANINGS[p]}" for p in PRICES).format(years=years.value, tariff=tariff.value)
    return f"{said} (electricity {plain(tariff.quality)}: {plain(tariff.source)}; years {plain(years.quality)}: {plain(years.source)})"


def growth_sheet(found: SizeAnswer) -> Sheet:
    """What each year's agents take."""
    basis, price = found.demand.limits.power_basis, found.demand.price
    rows = tuple(
        (
            plain(plan.answer.system) if not place else "",
            plain(plan.answer.deployment) if not place else "",
            str(year),
            f"{agents:,.0f}",
            f"{bill.systems:,}",
            *_taken(bill, basis, price),
        )
        for plan in found.plans
        for place, (year, agents, bill) in enumerate(plan.growth)
    )
    columns = (
        "system",
        "deployment",
        "year",
        "agents",
        "racks, nodes",
        f"MW, {_basis(basis)}",
        "capital, million USD",
        f"USD/h, {PRICE_WORDS[price]}",
    )
    return Sheet(
        "Growth", columns, rows, "llrrrrrr", f"{percent(found.demand.growth_per_year)} a year; the purchase above is for the last year"
    )


def _taken(bill: Bill, basis: str, price: str) -> tuple[str, str, str]:
    return number(getattr(bill.power_mw, basis)), number(bill.capital_usd / 1e6), number(bill.usd_per_hour[price])


def _basis(basis: str) -> str:
    return {"tdp": "TDP"}.get(basis, basis)


def within(plan: Plan) -> str:
    """Whether a plan can be bought, or which limits it breaks."""
    return "yes" if plan.fits else f"no: {', '.join(LIMIT_WORDS[name] for name in plan.exceeded)}" if plan.exceeded else "nothing fits"


def asked(demand: Demand) -> str:
    """The demand in words."""
    who = "as many agents as fit" if demand.agents is None else f"{demand.grown:,.0f} agents"
    if demand.growth_years:
        who += f" ({demand.agents:,} today)"
    reserve = [f"{percent(demand.headroom_share)} headroom"] if demand.headroom_share else []
    reserve += [f"{demand.spare} spare instance{'s' if demand.spare > 1 else ''}"] if demand.spare else []
    return " ".join(
        [who, *([f"with {' and '.join(reserve)}"] if reserve else []), *([f"within {limits(demand)}"] if demand.limits.any else [])]
    )


def limits(demand: Demand) -> str:
    """The limits in words."""
    own = demand.limits
    parts = [f"{own.power_mw:g} MW ({_basis(own.power_basis)})"] if own.power_mw is not None else []
    parts += [f"{own.systems:,} racks or nodes"] if own.systems is not None else []
    parts += [f"{number(own.capital_usd / 1e6)} million USD"] if own.capital_usd is not None else []
    parts += [f"{number(own.usd_per_hour)} USD/h ({PRICE_WORDS[demand.price]})"] if own.usd_per_hour is not None else []
    return " and ".join(parts)


def size_sentences(found: SizeAnswer) -> list[str]:
    """The answer in plain sentences: the purchase, or what would fit in its place; and what the limits leave."""
    if not found.plans:
        return ["Not one of these deployments holds an agent at this SLO, so no purchase meets the demand."]
    at = f"at {tier(found.plans[0].answer.slo)}"
    said = [_bought(word, plan, found.demand, at) for word, plan in _chosen(found)]
    if not said:
        said.append(_unmet(found, at))
    if found.demand.agents is not None and found.demand.limits.any and found.largest:
        most = found.largest
        said.append(
            f"Within {limits(found.demand)} at most {most.most_agents:,} agents fit, on {_what(most)}; "
            f"{LIMIT_WORDS.get(most.binds, 'nothing')} keeps more out."
        )
    return said


def _chosen(found: SizeAnswer) -> list[tuple[str, Plan]]:
    cheapest, least = found.cheapest, found.least_power
    if cheapest is not None and cheapest is least:
        return [("cheapest and least-power", cheapest)]
    return [(word, plan) for word, plan in (("cheapest", cheapest), ("least-power", least)) if plan is not None]


def _bought(word: str, plan: Plan, demand: Demand, at: str) -> str:
    bill, price = plan.bill, demand.price
    money = (
        f", {number(bill.usd_per_hour[price])} USD/h by {PRICE_WORDS[price]} ({number(plan.usd_per_agent_hour)} USD per agent-hour)"
        if bill.usd_per_hour[price] > 0
        else ""
    )
    basis = demand.limits.power_basis
    return (
        f"The {word} plan for {plan.agents:,.0f} agents {at} is {bill.systems:,} x {plain(plan.system.title)} ({bill.gpus:,} GPUs): "
        f"{number(getattr(bill.power_mw, basis))} MW {_basis(basis)}{money}; "
        f"{plan.agents_held:,} agents are held, {percent(plan.headroom_share)} more than served."
    )


def _unmet(found: SizeAnswer, at: str) -> str:
    nearest = min(found.plans, key=lambda plan: (len(plan.exceeded), -plan.most_agents))
    broken = " and ".join(LIMIT_WORDS[name] for name in nearest.exceeded) or "its limits"
    taken = ", ".join(
        f"{number(value)} MW {_basis(basis)}"
        for basis, value in bases(nearest.bill.power_mw).items()
        if basis == found.demand.limits.power_basis
    )
    return (
        f"No plan for {asked(found.demand)} {at} exists: the nearest, {nearest.bill.systems:,} x {plain(nearest.system.title)}, "
        f"takes {taken} and breaks {broken}."
    )


def _what(plan: Plan) -> str:
    return f"{plan.most_instances:,} instances of {plain(plan.answer.deployment)} on {plain(plan.system.title)}"


def sums(plan: Plan, demand: Demand) -> list[str]:
    """How a plan is reckoned, step by step, from fields that a buyer can look up."""
    a, s, b = plan.answer, plan.system, plan.bill
    idle, hour = b.gpus - b.gpus_used, b.usd_per_hour
    years, tariff = (demand.tariff[key].value for key in ("written_off_years", "electricity_usd_per_kwh"))
    per = f"{s.gpus // a.gpus} fit in one system of {s.gpus}" if a.gpus <= s.gpus else f"{-(-a.gpus // s.gpus)} systems of {s.gpus} each"
    return [
        f"{plan.agents:,.0f} agents x {1 + demand.headroom_share:g} / {a.agents_held:,} held by an instance, rounded up: "
        f"{plan.needed:,} instances, and {demand.spare} spare",
        f"an instance has {a.gpus} GPUs ({per}): {b.systems:,} systems, {b.gpus:,} GPUs, {idle:,} of them idle",
        f"accelerators: {b.gpus_used:,} x {a.accelerator_w_per_gpu:,.1f} W + {idle:,} x {s.idle_w:g} W = {b.power_mw.accelerator:.4f} MW",
        f"facility: (accelerators + {b.systems:,} x {s.other_w:,.0f} W beside them) x PUE {s.pue:g} = {b.power_mw.facility:.4f} MW",
        f"TDP: {b.gpus:,} x {s.tdp_w:g} W = {b.power_mw.tdp:.4f} MW",
        f"nameplate: {b.systems:,} x {s.nameplate_w:,.0f} W = {b.power_mw.nameplate:.4f} MW",
        f"owning: {b.gpus:,} x {s.own_usd_per_gpu_hour:.2f} USD = {hour['own']:,.2f} USD/h",
        f"renting: {b.gpus:,} x {s.rent_usd_per_gpu_hour:.2f} USD = {hour['rent']:,.2f} USD/h",
        f"buying: {b.systems:,} x {s.capital_usd:,.0f} USD / ({years:g} x 8,760 h) + {b.power_mw.facility * 1000:,.1f} kW x {tariff:g} USD "
        f"= {hour['buy']:,.2f} USD/h",
        f"an agent-hour: {hour[demand.price]:,.2f} USD/h / {plan.agents:,.0f} = {plan.usd_per_agent_hour:.4f} USD",
        f"a trajectory: {hour[demand.price]:,.2f} USD/h / {plan.trajectories_per_hour:,.0f} finished an hour "
        f"= {plan.usd_per_trajectory:.4f} USD",
    ]


def sums_sheet(plan: Plan, demand: Demand) -> Sheet:
    """The sums of one plan, to be checked by hand."""
    rows = tuple((str(place), line) for place, line in enumerate(sums(plan, demand), 1))
    return Sheet(f"By hand: {plain(plan.answer.deployment)}", ("step", "sum"), rows, "rl", promise(plan.answer.slo))
