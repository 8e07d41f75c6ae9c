"""The command line: what can be asked for, and what the words mean."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from tt_cloud._command import copying, listing, objects, sets

if TYPE_CHECKING:
    from tt_cloud._command.console import Console

PLACES = """\
A place is a file or folder, s3://bucket/key, gs://bucket/key, or file:///folder. Credentials and
regions come from where boto3 and Google's client look for them.
"""

STATUS = """\
exit status:
  0    all was done (or, with --dry-run, could be)
  1    some or all failed: one line each on stderr
  2    a wrong command line or address
  3    there is no such object, folder, bucket or committed set
  4    refused: no credentials, or not enough rights
  5    the name is taken (--no-clobber)
  130  stopped by Ctrl-C; the same command goes on where it stopped
"""

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Arguments(argparse.Namespace):
    """What was asked for; only what its subcommand takes is there."""

    run: Callable[[Arguments, Console], int]
    source: str
    target: str
    place: str
    places: list[str]
    folder: str
    recursive: bool
    everything: bool
    no_clobber: bool
    delete: bool
    dry_run: bool = False
    symlinks: Literal["error", "skip", "inside"]
    long: bool
    glob: str | None
    range: tuple[int, int | None] | None
    method: Literal["GET", "PUT"]
    expires: timedelta
    older_than: timedelta
    read_back: bool
    endpoint_url: str | None
    region: str | None
    profile: str | None
    project: str | None
    anonymous: bool
    ca_bundle: str | None
    concurrency: int | None = None
    json: bool = False
    quiet: bool
    verbose: bool


def parse(words: Sequence[str] | None) -> Arguments:
    """Read the command line; raises `SystemExit` when it is wrong, or asked for help."""
    return _parser().parse_args(words, Arguments())


def _parser() -> argparse.ArgumentParser:
    about = "Move files and folders to, from and between object stores, verifying every byte."
    parser = argparse.ArgumentParser("tt-cloud", None, about, PLACES + "\n" + STATUS, **_RAW)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(required=True, metavar="command")
    for add in (_cp, _ls, _cat, _rm, _sync, _commit, _verify, _sweep, _presign):
        add(commands)
    return parser


_RAW: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter}
_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _cp(commands: _Commands) -> None:
    more = """\
With a slash at its end, or as a folder that is there, TARGET is what to copy into. -r copies what
is in SOURCE to TARGET, files that are equal are left alone; with a slash at its end, TARGET gets a
folder of SOURCE's name. "-" is standard input or output: what goes there is verified before.
"""
    run = copying.cp
    parser = _add(commands, "cp", "copy a file, an object, or with -r all below it", run, more)
    _places(parser)
    parser.add_argument("-r", "--recursive", action="store_true", help="everything below SOURCE")
    parser.add_argument("--no-clobber", action="store_true", help="never replace anything")
    _symlinks(parser)
    _dry_run(parser)
    _moving(parser)


def _ls(commands: _Commands) -> None:
    more = "With --json, one JSON document a line."
    parser = _add(commands, "ls", "list what is there", listing.ls, more)
    parser.add_argument("place", metavar="PLACE")
    parser.add_argument("-r", "--recursive", action="store_true", help="also what is further below")
    parser.add_argument("-l", "--long", action="store_true", help="with sizes and times (UTC)")
    about = "keys that match, seen from PLACE: *, ?, [...], and ** for any number of folders"
    parser.add_argument("--glob", metavar="PATTERN", help=about)


def _cat(commands: _Commands) -> None:
    more = "A whole object is verified before the first byte is written; a range cannot be."
    parser = _add(
        commands, "cat", "write objects to standard output", objects.cat, more, json=False
    )
    parser.add_argument("places", metavar="PLACE", nargs="+")
    about = "bytes A up to, not including, B; B may be left out"
    parser.add_argument("--range", metavar="A:B", type=_range, help=about)


def _rm(commands: _Commands) -> None:
    parser = _add(commands, "rm", "delete objects, or with -r all below them", objects.rm)
    parser.add_argument("places", metavar="PLACE", nargs="+")
    parser.add_argument("-r", "--recursive", action="store_true", help="everything below PLACE")
    about = "let -r empty a whole bucket or file system"
    parser.add_argument("--everything", action="store_true", help=about)
    _dry_run(parser)


def _sync(commands: _Commands) -> None:
    more = """\
Nothing is deleted without --delete. Equal files are not moved. A committed set is copied as it lies
there, manifest last; cp -r brings its files.
"""
    parser = _add(commands, "sync", "make TARGET hold what SOURCE holds", sets.sync, more)
    _places(parser)
    about = "delete what SOURCE does not have"
    parser.add_argument("--delete", action="store_true", help=about)
    _dry_run(parser)
    _moving(parser)


def _commit(commands: _Commands) -> None:
    more = "Readers see the set before or this one, never a mixture. Only what changed is sent."
    parser = _add(commands, "commit", "store a folder as one set", sets.commit, more)
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument("place", metavar="PLACE")
    _symlinks(parser)
    _moving(parser)


def _verify(commands: _Commands) -> None:
    parser = _add(commands, "verify", "check that a committed set is there and whole", sets.verify)
    parser.add_argument("place", metavar="PLACE")
    about = "fetch every object and digest it, instead of asking the service"
    parser.add_argument("--read-back", action="store_true", help=about)
    _moving(parser)


def _sweep(commands: _Commands) -> None:
    about = "remove what unfinished commits and uploads left behind"
    parser = _add(commands, "sweep", about, sets.sweep)
    parser.add_argument("place", metavar="PLACE")
    day = timedelta(days=1)
    about = "only what is older, like 12h (default: 1d)"
    parser.add_argument("--older-than", metavar="TIME", type=_time, default=day, help=about)
    _dry_run(parser)


def _presign(commands: _Commands) -> None:
    more = "The address is a credential: whoever has it may use it until it expires."
    about = "print an address that works without an account"
    parser = _add(commands, "presign", about, objects.presign, more)
    parser.add_argument("place", metavar="PLACE")
    parser.add_argument("--method", choices=["GET", "PUT"], default="GET")
    quarter = timedelta(minutes=15)
    about = "until when, like 2h, at most 7d (default: 15m)"
    parser.add_argument("--expires", metavar="TIME", type=_time, default=quarter, help=about)


def _add(
    commands: _Commands,
    name: str,
    about: str,
    run: Callable[[Arguments, Console], int],
    more: str = "",
    *,
    json: bool = True,
) -> argparse.ArgumentParser:
    """A subcommand with the options that all have."""
    text = f"{about[0].upper()}{about[1:]}.\n\n{more}"
    parser = commands.add_parser(name, help=about, description=text, epilog=STATUS, **_RAW)
    parser.set_defaults(run=run)
    access = parser.add_argument_group("how to reach a bucket")
    access.add_argument(
        "--endpoint-url", metavar="URL", help="another server than AWS's or Google's"
    )
    access.add_argument("--region", help="s3: of the bucket")
    access.add_argument("--profile", help="s3: of the configuration files of AWS")
    access.add_argument("--project", help="gs: to act for")
    access.add_argument("--anonymous", action="store_true", help="go without credentials")
    access.add_argument("--ca-bundle", metavar="FILE", help="certificates to trust")
    output = parser.add_argument_group("what to print")
    output.add_argument("-q", "--quiet", action="store_true", help="only results and errors")
    output.add_argument(
        "-v", "--verbose", action="store_true", help="each object; where errors began"
    )
    if json:
        output.add_argument("--json", action="store_true", help="the result as JSON")
    return parser


def _places(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("target", metavar="TARGET")


def _symlinks(parser: argparse.ArgumentParser) -> None:
    about = "refuse links (default), leave them out, or store what they mean inside the folder"
    choices = ["error", "skip", "inside"]
    parser.add_argument("--symlinks", choices=choices, default="error", help=about)


def _dry_run(parser: argparse.ArgumentParser) -> None:
    about = "only print what would be done"
    parser.add_argument("-n", "--dry-run", action="store_true", help=about)


def _moving(parser: argparse.ArgumentParser) -> None:
    about = "objects or parts to move at once"
    parser.add_argument("--concurrency", metavar="N", type=_count, help=about)


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        msg = f"a number from 1 on: got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _time(text: str) -> timedelta:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text)
    if not match:
        msg = f"a time is a number with s, m, h, d or w, like 15m: got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return timedelta(**{_UNITS[match[2]]: float(match[1])})


def _range(text: str) -> tuple[int, int | None]:
    match = re.fullmatch(r"(\d*):(\d*)", text)
    if not match:
        msg = f"a range is like 0:100 or 100: got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return int(match[1] or 0), int(match[2]) if match[2] else None


class _Version(argparse.Action):
    """Print the version, which takes a while to find."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        sys.stdout.write(f"tt-cloud {version('tt-cloud')}\n")
        parser.exit()
