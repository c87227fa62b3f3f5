"""What a purchase takes: whole systems, power on every basis, money, limits, reserve and growth, by hand-computed values."""

import math
import re
from dataclasses import replace
from pathlib import Path

import fake_answers
import pytest

from simulator.capacity import load_scenario
from simulator.capacity.demand import Demand, Limits
from simulator.capacity.plan import bill_for, broken_limits, plan_for, systems_for
from simulator.capacity.results import Answer, Energy, PowerBases
from simulator.capacity.size import plans_for, size
from simulator.capacity.size_json import size_json
from simulator.errors import UserError
from simulator.hardware.load import load_system

ROOT = Path(__file__).resolve().parents[2]
GB300, H200 = load_system("gb300_nvl72"), load_system("hgx_h200")
JOULES = PowerBases(1000.0, 1000.0, 1000.0, 1000.0)


def held(agents: int, gpus: int, watts: float, system: str = "gb300_nvl72") -> Answer:
    """An answer with these three figures, at 1,000 J a trajectory."""
    answer = fake_answers.answer()
    assert answer.held
    point = replace(answer.held, agents=agents, gpus=gpus, watts_per_gpu=PowerBases(watts, 0, 0, 0), energy=Energy(*[JOULES] * 4))
    return replace(answer, system=system, agents_held=agents, interval=(agents, agents), gpus=gpus, accelerator_w_per_gpu=watts, held=point)


RACK = held(634, 40, 700.0)


@pytest.mark.parametrize(
    ("instances", "gpus", "systems"), [(0, 40, 0), (1, 40, 1), (8, 40, 8), (7, 32, 4), (8, 32, 4), (9, 72, 9), (2, 144, 4), (3, 73, 6)]
)
def test_instances_stand_whole_in_racks(instances, gpus, systems):
    assert systems_for(instances, gpus, GB300) == systems


def test_a_bill_by_hand():
    """8 racks with 40 of 72 GPUs at work at 700 W, 32 idle at 230 W; 29 kW beside them; PUE 1.1."""
    bill = bill_for(8, RACK, GB300, Demand(agents=5000))
    assert (bill.systems, bill.gpus, bill.gpus_used) == (8, 576, 320)
    accelerators = 320 * 700 + 256 * 230
    assert bill.power_mw.accelerator == pytest.approx(accelerators / 1e6)
    assert bill.power_mw.tdp == pytest.approx(576 * 1400 / 1e6)
    assert bill.power_mw.nameplate == pytest.approx(8 * 142_000 / 1e6)
    assert bill.power_mw.facility == pytest.approx((accelerators + 8 * 29_000) * 1.1 / 1e6)
    assert bill.usd_per_hour["own"] == pytest.approx(576 * 2.31)
    assert bill.usd_per_hour["rent"] == pytest.approx(576 * 3.96)
    written_off = 8 * GB300.capital_usd / (4 * 8760)
    assert bill.usd_per_hour["buy"] == pytest.approx(written_off + bill.power_mw.facility * 1000 * 0.08)


def test_a_plan_serves_the_demand_with_its_reserve():
    plan = plan_for(RACK, GB300, Demand(agents=5000, headroom_share=0.1, spare=1))
    assert plan.needed == math.ceil(5500 / 634) == 9
    assert plan.bill.instances == plan.bill.systems == 10
    assert plan.headroom_share == pytest.approx(9 * 634 / 5000 - 1)
    assert plan.usd_per_agent_hour == pytest.approx(720 * 2.31 / 5000)
    # 40 GPUs at 700 W over 1,000 J a trajectory are 28 a second, by 634 agents.
    assert plan.trajectories_per_hour == pytest.approx(5000 * 28 * 3600 / 634)
    assert plan.usd_per_trajectory == pytest.approx(720 * 2.31 / plan.trajectories_per_hour)


def test_no_rounding_buys_another_instance():
    assert plan_for(held(100, 8, 500.0, "hgx_h200"), H200, Demand(agents=1000, headroom_share=0.1)).needed == 11


LIMITS = [
    Limits(power_mw=1.0),
    Limits(power_mw=1.0, power_basis="nameplate"),
    Limits(systems=5),
    Limits(capital_usd=20e6),
    Limits(usd_per_hour=999.0),
    Limits(power_mw=0.6, systems=9, usd_per_hour=1500.0),
]


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize(("answer", "system"), [(RACK, GB300), (held(5, 8, 310.0, "hgx_h200"), H200)])
def test_what_fits_is_the_most_that_keeps_every_limit(limits, answer, system):
    demand = Demand(limits=limits)
    plan = plan_for(answer, system, demand)
    assert plan.fits
    assert plan.bill.instances == plan.most_instances
    assert not broken_limits(bill_for(plan.most_instances, answer, system, demand), limits, "own")
    assert plan.binds in broken_limits(bill_for(plan.most_instances + 1, answer, system, demand), limits, "own")
    assert plan.agents == plan.most_instances * answer.agents_held


def test_a_demand_beyond_the_limits_says_what_would_fit():
    demand = Demand(agents=5000, spare=1, headroom_share=0.25, limits=Limits(systems=5))
    found = plans_for([RACK, held(3, 8, 310.0, "hgx_h200")], [GB300, H200], demand)
    assert found.cheapest is found.least_power is None
    assert [plan.exceeded for plan in found.plans] == [("systems",), ("systems",)]
    assert found.largest is found.plans[0]
    assert found.largest.most_agents == math.floor(4 * 634 / 1.25)
    assert plan_for(RACK, GB300, replace(demand, agents=found.largest.most_agents)).fits
    assert not plan_for(RACK, GB300, replace(demand, agents=found.largest.most_agents + 1)).fits


def test_the_cheapest_and_the_least_power_plan_may_differ():
    demand = Demand(agents=1000)
    dear = replace(GB300, own_usd_per_gpu_hour=90.0)
    found = plans_for([RACK, held(40, 8, 600.0, "hgx_h200")], [dear, H200], demand)
    assert found.cheapest is found.plans[1]
    assert found.least_power is found.plans[0]
    document = size_json(found)
    assert (document["cheapest"], document["least_power"]) == (1, 0)


def test_a_system_without_a_price_is_never_the_cheapest_and_breaks_limits_of_money():
    unknown = replace(GB300, own_usd_per_gpu_hour=0.0)
    found = plans_for([RACK], [unknown], Demand(agents=1000))
    assert found.cheapest is None
    assert found.least_power is found.plans[0]
    assert plan_for(RACK, unknown, Demand(agents=1000, limits=Limits(usd_per_hour=1e9))).exceeded == ("usd_per_hour",)


def test_growth_is_bought_for_its_last_year():
    plan = plan_for(RACK, GB300, Demand(agents=1000, growth_per_year=0.5, growth_years=2))
    assert plan.agents == pytest.approx(2250)
    assert [(year, agents, bill.systems) for year, agents, bill in plan.growth] == [(0, 1000, 2), (1, 1500, 3), (2, 2250, 4)]
    assert plan.bill.systems == 4


def test_a_deployment_that_holds_nobody_is_no_plan():
    nobody = replace(held(1, 8, 300.0, "hgx_h200"), agents_held=0, held=None)
    found = plans_for([RACK, nobody], [GB300, H200], Demand(agents=10))
    assert len(found.plans) == 1
    assert [answer.system for answer in found.without] == ["hgx_h200"]


def test_a_bare_price_of_the_site_is_assumed_and_a_whole_one_keeps_its_quality():
    paid = {"value": 0.11, "unit": "USD/kWh", "source": "our contract", "quality": "measured"}
    for given, quality in ((0.11, "assumed"), (paid, "measured")):
        asked = load_scenario("size", {"size.electricity_usd_per_kwh": given}).size
        assert asked
        assert (asked.tariff["electricity_usd_per_kwh"].value, asked.tariff["electricity_usd_per_kwh"].quality) == (0.11, quality)


def test_prices_are_no_part_of_the_quality_of_a_system():
    sure = {"value": 1.28, "unit": "1", "source": "meter", "quality": "measured"}
    system = load_system({"extends": "hgx_h200", "pue": sure})
    assert system.fields["capital_usd"].quality == "assumed"
    assert system.quality == "estimated"
    plan = plan_for(held(5, 8, 300.0), system, Demand(agents=5, price="own"))
    assert plan.price_quality == "estimated"
    assert plan_for(held(5, 8, 300.0), system, Demand(agents=5, price="buy")).price_quality == "assumed"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"size": {}}, "size.agents; found nothing"),
        ({"size.price": "borrow"}, "size.price; found 'borrow'; allowed: own, rent, buy"),
        ({"size.power_mw": 0}, "size.power_mw; found 0"),
        ({"size.power_basis": "tpd"}, "did you mean 'tdp'?"),
        ({"size.racks": 3}, "size.racks"),
        ({"size.electricity_usd_per_kwh": "cheap"}, "size.electricity_usd_per_kwh.value; found 'cheap'"),
    ],
)
def test_mistakes_of_the_section_are_told(changes, said):
    with pytest.raises(UserError, match=re.escape(said)):
        load_scenario("size", changes)


def test_a_scenario_without_the_section_is_told_what_to_give():
    with pytest.raises(UserError, match=re.escape("size; found nothing; allowed: a mapping with agents")):
        size(load_scenario("capacity_h200"))


def test_cells_with_different_promises_are_refused_before_anything_runs():
    with pytest.raises(UserError, match="one SLO for all cells"):
        size(load_scenario("compare", {"size.agents": 100}))


def test_the_page_rests_on_the_answer_of_the_readme():
    """634 agents at so many watts: the held point of the README's table, from which 22,799 agents per MW follow."""
    page = (ROOT / "docs" / "size.md").read_text(encoding="utf-8")
    agents, gpus, watts = (float(x.replace("_", "")) for x in re.findall(r"^(?:held|gpus|watts) = ([\d._]+)", page, re.MULTILINE))
    row = re.search(
        r"\| 60 tok/s & 5 s \| gb300_nvl72 \| (\d+) \| \*\*([\d,]+)\*\*.*?\| \*\*([\d,]+)\*\*", (ROOT / "README.md").read_text("utf-8")
    )
    assert row
    table = [float(cell.replace(",", "")) for cell in row.groups()]
    assert [gpus, agents] == table[:2]
    assert agents / (gpus * watts) * 1e6 == pytest.approx(table[2], rel=1e-3)
