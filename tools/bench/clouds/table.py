"""Times as a table, with ratios to the fastest client and to boto3."""

from collections.abc import Callable

from clouds.cell import Times
from clouds.peers import Peer

Clock = Callable[[Times], float]

CLOCKS: dict[str, Clock] = {
    "CPU s, whole process": lambda times: times.whole,
    "CPU s, work": lambda times: times.work,
    "wall s": lambda times: times.wall,
}


def table(title: str, step: str, peers: list[Peer], taken: dict[str, list[Times]]) -> None:
    """One row a client, the least of its turns in each column."""
    rows = [peer for peer in peers if peer.name in taken]
    least = {
        name: {peer.name: min(map(clock, taken[peer.name])) for peer in rows}
        for name, clock in CLOCKS.items()
    }
    print(f"\n{title}\n")
    columns = [each for name in CLOCKS for each in (name, "of fastest", "of boto3")]
    row("client", *columns, "verifies")
    row(*["---"] * (len(columns) + 2))
    for peer in rows:
        cells = [cell for clock in least.values() for cell in beside(peer.name, clock)]
        row(peer.name, *cells, "yes" if step in peer.verifies or "sync" in step else "no")


def beside(name: str, clock: dict[str, float]) -> list[str]:
    """The seconds, how many times the fastest client's, and which part of boto3's."""
    own = clock[name]
    boto3 = f"{own / clock['boto3']:.2f}" if clock.get("boto3") else ""
    return [f"{own:.2f}", f"{own / max(min(clock.values()), 1e-9):.1f}", boto3]


def row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)
