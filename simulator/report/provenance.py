"""What made a page, for its foot: versions, what was asked with a digest, and the command. Inputs are words."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Provenance:
    """What made a report: enough to make it again.

    Attributes
    ----------
    version : str
        Of agentwatt.
    scenario, kind : str
        Name of what was asked, and what that is: a scenario, rows, an endpoint.
    command : str
    seeds : tuple of int
    workload : str
    notes : str
        What a reader of the answer must know beside it, in the scenario's words.
    digest : str
        Of all that the answer follows from; of a scenario its values, profiles, trajectories and this package's code.
    versions : tuple of (str, str)
        What else computed it: name and version, or digest.
    """

    version: str
    scenario: str
    command: str
    seeds: tuple[int, ...] = ()
    workload: str = ""
    notes: str = ""
    digest: str = ""
    versions: tuple[tuple[str, str], ...] = ()
    kind: str = "scenario"
