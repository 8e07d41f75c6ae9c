"""What moving files to S3 and back costs the client, beside other clients.

    python tools/bench/cloud.py                          2,000 files of 4 KiB, up and down
    python tools/bench/cloud.py --task big               one file of 512 MiB, up and down
    python tools/bench/cloud.py --task sync              2,000 files of which none has changed
    python tools/bench/cloud.py --task import            what a process spends on `import`
    python tools/bench/cloud.py --only tt-cloud boto3 --rounds 6 --size 128 --folder /dev/shm
    hatch run bench-cloud:run --task big                 with all peers installed

The server is SeaweedFS on loopback, started for this alone. Each turn is a process of its own; the
clients take turns, in an order that is reversed each round. Counted are the CPU seconds of the
whole process, `import` included, as the system accounts them, of the work alone, and wall seconds
of the work; the table has the least of all rounds, since other work on the machine only adds. What
was stored is compared with what was sent and what came with what is stored, byte for byte, outside
the timing. Clients and server share the processors, so wall seconds say less than CPU seconds:
where the server is the slower one, all clients wait alike. tt-cloud flushes what it downloads to
disk, which others do not: with --folder on a disk its wall seconds hold that too.
"""

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from clouds import imports
from clouds.cell import Job, Times, run
from clouds.peers import PEERS, Peer
from clouds.server import Server, running
from clouds.table import table

LONG_AGO = 1_700_000_000  # S3 keeps whole seconds: a new file would seem newer than its object
TASKS = {"small": ("up", "down"), "big": ("up", "down"), "sync": ("sync",)}


def compare(task: str, peers: list[Peer], options: argparse.Namespace) -> None:
    """Let the peers do each step of a task in turns, and print a table for it."""
    count, size = (1, options.size << 20) if task == "big" else (options.count, 4096)
    with TemporaryDirectory(dir=options.folder) as name, running(Path(name)) as server:
        folder = Path(name, "files")
        fill(folder, count, size)
        taken: dict[str, dict[str, list[Times]]] = {step: {} for step in TASKS[task]}
        for number in range(options.rounds):
            for peer in list(peers) if number % 2 else peers[::-1]:
                job = Job(server.url, server.bucket, f"{task}/{peer.slug}/{number}", folder, count)
                try:
                    turn(peer, job, taken, server)
                except (OSError, ValueError, subprocess.SubprocessError) as error:
                    print(f"({peer.name} is left out: {last_line(error)})", flush=True)
                    peers.remove(peer)
    for step, times in taken.items():
        what = f"one file of {options.size} MiB" if task == "big" else f"{count} files of 4 KiB"
        table(f"{step}, {what}", f"{task} {step}", peers, times)


def turn(peer: Peer, job: Job, taken: dict[str, dict[str, list[Times]]], server: Server) -> None:
    """One peer's steps, and a look at what they did."""
    if "sync" in taken:
        if not peer.syncs:
            return
        run(peer, "up", job)
        before = server.modified(job)
        taken["sync"].setdefault(peer.name, []).append(run(peer, "sync", job))
        if server.modified(job) != before:
            msg = f"{peer.name} has sent unchanged files again"
            raise ValueError(msg)
    else:
        taken["up"].setdefault(peer.name, []).append(run(peer, "up", job))
        server.check(job)
        with TemporaryDirectory(dir=job.folder.parent) as back:
            there = job._replace(folder=Path(back))
            taken["down"].setdefault(peer.name, []).append(run(peer, "down", there))
            same(job.folder, there.folder, job.names)
    server.empty(job)


def fill(folder: Path, count: int, size: int) -> None:
    folder.mkdir()
    for name in Job("", "", "", folder, count).names:
        with (folder / name).open("wb") as file:
            for _ in range(0, size, 1 << 20):
                file.write(os.urandom(min(size, 1 << 20)))
        os.utime(folder / name, (LONG_AGO, LONG_AGO))


def same(first: Path, second: Path, names: list[str]) -> None:
    for name in names:
        with (first / name).open("rb") as one, (second / name).open("rb") as other:
            while chunk := one.read(1 << 20):
                if chunk != other.read(len(chunk)):
                    msg = f"{name} came back as something else"
                    raise ValueError(msg)
            if other.read(1):
                msg = f"{name} came back longer"
                raise ValueError(msg)


def last_line(error: Exception) -> str:
    """The last line that names an error, else the last one."""
    said = str(getattr(error, "stderr", None) or error).strip().splitlines()
    return next((line for line in reversed(said) if "Error" in line), said[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description="Clients of S3 on a server of their own.")
    parser.add_argument("--task", choices=[*TASKS, "import"], default="small")
    parser.add_argument("--only", nargs="+", default=[""], metavar="NAME", help="parts of names")
    parser.add_argument("--rounds", type=int, default=4, help="turns of each client")
    parser.add_argument("--count", type=int, default=2000, help="of small files")
    parser.add_argument("--size", type=int, default=512, help="of the big file, in MiB")
    parser.add_argument("--folder", type=Path, help="where files are, on both sides")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # and the server with it
    if options.task == "import":
        imports.compare(options.rounds)
        return
    chosen = [peer for peer in PEERS if any(part in peer.name for part in options.only)]
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} processors")
    for peer in [peer for peer in chosen if not peer.version]:
        print(f"({peer.name} is left out: pip install {peer.install})")
        chosen.remove(peer)
    print(", ".join(sorted({f"{peer.package} {peer.version}" for peer in chosen})))
    compare(options.task, chosen, options)


if __name__ == "__main__":
    main()
