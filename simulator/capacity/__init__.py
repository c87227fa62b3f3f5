"""The questions: what one operating point gives, how many agents a deployment holds, and how several compare."""

from simulator.capacity.answers_json import answer_json, comparison_json, summary_json
from simulator.capacity.comparison import compare
from simulator.capacity.hold import capacity
from simulator.capacity.point import play, run
from simulator.capacity.scenario import Scenario
from simulator.capacity.scenario_file import load_scenario

__all__ = ["Scenario", "answer_json", "capacity", "compare", "comparison_json", "load_scenario", "play", "run", "summary_json"]
