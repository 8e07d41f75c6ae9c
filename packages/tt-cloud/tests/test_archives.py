import bz2
import errno
import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import threading
import unicodedata
import zipfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tt_cloud import Cancelled, UnsafeArchive, Unsupported
from tt_cloud.datasets.archives import ARCHIVE_ENDINGS, Limits, archive_name, extract

FILES = {"a.txt": b"a", "folder/b.bin": bytes(range(256)) * 300, "folder/deep/c": b""}
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def content(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def tar_member(name: str, data: bytes = b"", **attributes: Any) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for attribute, value in attributes.items():
        setattr(member, attribute, value)
    return member, data


def tar_of(*members: tuple[tarfile.TarInfo, bytes], **options: Any) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", **options) as tar:
        for member, data in members:
            tar.addfile(member, io.BytesIO(data))
    return file.getvalue()


def zip_of(
    *members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED
) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for member, data in members:
            if isinstance(member, zipfile.ZipInfo):
                member.compress_type = method
            archive.writestr(member, data)
    return file.getvalue()


def refused(
    tmp_path: Path,
    name: str,
    data: bytes,
    match: str,
    kind: type[Exception] = UnsafeArchive,
    **options: Any,
) -> None:
    """Extract an archive, and see that it is refused with nothing left anywhere."""
    home = tmp_path / "home"
    home.mkdir()
    archive = home / name
    archive.write_bytes(data)
    with pytest.raises(kind, match=match):
        extract(archive, home / "out", **options)
    assert [path.name for path in tmp_path.rglob("*")] == ["home", name]


@pytest.mark.parametrize(
    "ending", [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz"]
)
def test_tar_archives_are_unpacked(tmp_path: Path, ending: str) -> None:
    data = tar_of(*(tar_member(name, data) for name, data in FILES.items()))
    last = {"tgz": ".gz", "tbz2": ".bz2", "txz": ".xz"}.get(ending[1:], ending[4:])
    archive = tmp_path / f"set{ending.upper()}"
    archive.write_bytes(COMPRESS[last](data))
    extract(archive, tmp_path / "out")
    assert content(tmp_path / "out") == FILES


@pytest.mark.parametrize(
    "method",
    [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA],
)
def test_zip_archives_are_unpacked(tmp_path: Path, method: int) -> None:
    archive = tmp_path / "set.zip"
    archive.write_bytes(zip_of(*FILES.items(), method=method))
    extract(archive, tmp_path / "out")
    assert content(tmp_path / "out") == FILES


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz"])
def test_compressed_files_are_unpacked(tmp_path: Path, ending: str) -> None:
    archive = tmp_path / f"train.csv{ending}"
    archive.write_bytes(COMPRESS[ending](b"1,2\n"))
    extract(archive, tmp_path / "out")
    assert content(tmp_path / "out") == {"train.csv": b"1,2\n"}


def test_the_endings_are_told_apart() -> None:
    assert archive_name("a.b.TAR.gz") == ("a.b", ".tar.gz", False)
    assert archive_name("train.csv.gz") == ("train.csv", ".gz", True)
    for name in ("model.npz", "a.tar.gz.part", "zip", ".zip", "a.zst", ""):
        assert archive_name(name) is None
    for ending in ARCHIVE_ENDINGS:
        assert archive_name(f"x{ending}") == ("x", ending, ending in (".gz", ".bz2", ".xz"))


def test_what_tar_and_zip_of_a_folder_give_is_unpacked(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "empty").mkdir()
    tar, archive = tmp_path / "set.tar", tmp_path / "set.zip"
    with tarfile.open(tar, "w") as file:
        file.add(folder, ".")  # names begin with ./
    with zipfile.ZipFile(archive, "w") as zipped:
        for path in (folder, *folder.rglob("*")):
            zipped.write(path, path.relative_to(tmp_path))
    extract(tar, tmp_path / "a")
    extract(archive, tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b" / "source") == FILES
    assert (tmp_path / "a" / "empty").is_dir()
    assert (tmp_path / "b" / "source" / "empty").is_dir()


NAMES = st.lists(
    st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="/\\:"),
        min_size=1,
        max_size=8,
    ).filter(lambda part: part not in (".", "..") and not part.startswith(".tt-cloud-")),
    min_size=1,
    max_size=4,
).map("/".join)


def apart(names: Iterable[str]) -> bool:
    """Whether no two names, or folders on the way to them, are one where case does not count."""
    ways = {way for name in names for way in ways_to(name)}
    nfc, nfd = (partial(unicodedata.normalize, form) for form in ("NFC", "NFD"))
    folded = {nfc(nfd(way).casefold()) for way in ways}
    above = {way for name in names for way in ways_to(name)[:-1]}
    return len(folded) == len(ways) and not above & set(names)


def ways_to(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[: end + 1]) for end in range(len(parts))]


@settings(max_examples=50, deadline=None)
@given(files=st.dictionaries(NAMES, st.binary(max_size=300), max_size=6))
def test_whatever_is_unpacked_is_what_was_packed(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "a.zip").write_bytes(zip_of(*files.items()))
    (folder / "a.tar").write_bytes(tar_of(*(tar_member(n, d) for n, d in files.items())))
    for archive in (folder / "a.zip", folder / "a.tar"):
        out = folder / f"out-{archive.suffix}"
        if apart(files):
            extract(archive, out)
            assert content(out) == files
        else:
            with pytest.raises(UnsafeArchive, match="meets"):
                extract(archive, out)


UNSAFE_NAMES = {
    "../out": "'..'",
    "a/../../out": "'..'",
    "a/..": "'..'",
    "/etc/passwd": "absolute",
    "//server/share": "absolute",
    "C:evil": "absolute",
    "c:/evil": "absolute",
    "..\\evil": "backslash",
    "a\\b": "backslash",
    "line\nbreak": "control",
    "\x7f": "control",
    ".tt-cloud-1.part": "kept for",
    "a/.tt-cloud-lock": "kept for",
    "x" * 256: "no name here",
}


@pytest.mark.parametrize("name", UNSAFE_NAMES)
def test_names_that_lead_elsewhere_are_refused_in_zip(tmp_path: Path, name: str) -> None:
    data = zip_of(("fine.txt", b"fine"), (name, b"evil"))
    refused(tmp_path, "set.zip", data, UNSAFE_NAMES[name])


@pytest.mark.parametrize("name", UNSAFE_NAMES)
def test_names_that_lead_elsewhere_are_refused_in_tar(tmp_path: Path, name: str) -> None:
    data = tar_of(tar_member("fine.txt", b"fine"), tar_member(name, b"evil"))
    refused(tmp_path, "set.tar", data, UNSAFE_NAMES[name])


@pytest.mark.parametrize("name", ["../up/", "/abs/", "C:/"])
def test_folders_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "zip").mkdir()
    (tmp_path / "tar").mkdir()
    refused(tmp_path / "zip", "set.zip", zip_of((name, b"")), "plain files and folders")
    folder = tar_member(name, type=tarfile.DIRTYPE)
    refused(tmp_path / "tar", "set.tar", tar_of(folder), "plain files and folders")


@pytest.mark.parametrize("name", ["nice.txtX../evil", "nice/Xevil", "nice/X../../evil/"])
def test_a_name_with_nul_is_refused(tmp_path: Path, name: str) -> None:
    data = zip_of((name, b"")).replace(name.encode(), name.replace("X", "\0").encode())
    refused(tmp_path, "set.zip", data, "control")


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    data = tar_of(tar_member("caf\udce9"), encoding="utf-8", errors="surrogateescape")
    refused(tmp_path, "set.tar", data, "UTF-8")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a", "a"),
        ("a", "A"),
        ("caf\u00e9", "cafe\u0301"),
        ("stra\u00dfe", "STRASSE"),
        ("Data/x", "data/y"),
        ("a", "a/b"),
        ("a/b", "a"),
        ("a/b", "A"),
        ("./a", "a"),
        ("x/a", "x//a"),
    ],
)
def test_members_that_meet_are_refused(tmp_path: Path, first: str, second: str) -> None:
    (tmp_path / "tar").mkdir()
    (tmp_path / "zip").mkdir()
    tar = tar_of(tar_member(first, b"1"), tar_member(second, b"2"))
    refused(tmp_path / "tar", "set.tar", tar, "meets")
    if first == second:
        with pytest.warns(UserWarning, match="Duplicate"):
            data = zip_of((first, b"1"), (second, b"2"))
    else:
        data = zip_of((first, b"1"), (second, b"2"))
    refused(tmp_path / "zip", "set.zip", data, "meets")


def test_a_link_and_a_file_through_it_are_refused(tmp_path: Path) -> None:
    link = tar_member("way", type=tarfile.SYMTYPE, linkname="..")
    refused(tmp_path, "set.tar", tar_of(link, tar_member("way/evil", b"evil")), "is a link")


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        (tarfile.SYMTYPE, "is a link"),
        (tarfile.LNKTYPE, "is a hard link"),
        (tarfile.CHRTYPE, "is a device"),
        (tarfile.BLKTYPE, "is a device"),
        (tarfile.FIFOTYPE, "is a pipe"),
        (b"Z", "unknown kind"),
    ],
)
def test_only_files_and_folders_are_taken_from_tar(tmp_path: Path, kind: bytes, match: str) -> None:
    odd = tar_member("odd", type=kind, linkname="a.txt")
    refused(tmp_path, "set.tar", tar_of(tar_member("a.txt", b"a"), odd), match)


@pytest.mark.parametrize(
    "kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFDIR]
)
def test_only_files_and_folders_are_taken_from_zip(tmp_path: Path, kind: int) -> None:
    odd = zipfile.ZipInfo("odd")
    odd.create_system = 3
    odd.external_attr = (kind | 0o777) << 16
    refused(tmp_path, "set.zip", zip_of((odd, b"/etc/passwd")), "link or device")


def test_sparse_files_are_refused(tmp_path: Path) -> None:
    header = bytearray(tar_of(tar_member("holes", b"x" * 512)))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[386:410] = b"%011o\0%011o\0" % (0, 512)
    header[483:495] = b"%011o\0" % (1 << 30)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    refused(tmp_path, "set.tar", bytes(header), "sparse")


def test_a_bomb_is_refused_by_its_ratio(tmp_path: Path) -> None:
    zeros = bytes(16 << 20)
    for name, data in {
        "set.zip": zip_of(("zeros", zeros)),
        "set.tar.gz": gzip.compress(tar_of(tar_member("zeros", zeros))),
        "zeros.xz": lzma.compress(zeros),
        "zeros.bz2": bz2.compress(zeros),
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        refused(folder, name, data, r"Limits\.ratio")
        extract(folder / "home" / name, folder / "out", limits=Limits(ratio=100_000))


def test_a_size_in_a_header_that_is_too_small_does_not_help_a_bomb(tmp_path: Path) -> None:
    data = zip_of(("zeros", bytes(16 << 20)))
    small = struct.pack("<I", 10)
    local, central = 22, data.rindex(b"PK\1\2") + 24
    wrong = data[:local] + small + data[local + 4 : central] + small + data[central + 4 :]
    refused(tmp_path, "set.zip", wrong, "must be whole")


def test_a_size_in_a_header_that_is_too_large_is_found_out(tmp_path: Path) -> None:
    data = zip_of(("a", b"12345"), method=zipfile.ZIP_DEFLATED)
    size = struct.pack("<I", 5)
    at = data.rindex(b"PK\1\2") + 24
    assert data[at : at + 4] == size
    wrong = data[:at] + struct.pack("<I", 500) + data[at + 4 :]
    refused(tmp_path, "set.zip", wrong, "5 bytes instead of 500")


def test_the_size_of_all_members_is_bounded(tmp_path: Path) -> None:
    files = [(f"{i}", bytes([i]) * 1000) for i in range(10)]
    limits = Limits(size=9_999)
    for name, data in {
        "set.zip": zip_of(*files, method=zipfile.ZIP_STORED),
        "set.tar": tar_of(*(tar_member(n, d) for n, d in files)),
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        refused(folder, name, data, r"Limits\.size", limits=limits)


def test_the_number_of_members_is_bounded(tmp_path: Path) -> None:
    limits = Limits(members=99)
    for name, data in {
        "set.zip": zip_of(*((f"{i}", b"") for i in range(100))),
        "set.tar": tar_of(*(tar_member(f"{i}") for i in range(100))),
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        refused(folder, name, data, r"Limits\.members", limits=limits)
        extract(folder / "home" / name, folder / "out", limits=Limits(members=100))


def test_members_that_share_bytes_are_refused(tmp_path: Path) -> None:
    """The bomb of many entries over one kernel, with full overlap."""
    kernel = zip_of(("0", bytes(1 << 20)))
    end = kernel.rindex(b"PK\5\6")
    start = kernel.index(b"PK\1\2")
    local, entry = kernel[:start], kernel[start:end]
    many = b"".join(entry for _ in range(50))
    tail = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 50, 50, len(many), len(local), 0)
    refused(tmp_path, "set.zip", local + many + tail, "overlaps")


def test_a_member_quoted_inside_another_is_refused(tmp_path: Path) -> None:
    """The better bomb: local headers are content of the member before."""
    inner = zip_of(("b", b"x" * 100), method=zipfile.ZIP_STORED)
    outer = zip_of(("a", inner[: inner.index(b"PK\1\2")]), method=zipfile.ZIP_STORED)
    at = outer.index(inner[:30])
    start = outer.rindex(b"PK\1\2")
    entry = bytearray(inner[inner.index(b"PK\1\2") : inner.rindex(b"PK\5\6")])
    entry[42:46] = struct.pack("<I", at)
    central = outer[start : outer.rindex(b"PK\5\6")] + bytes(entry)
    tail = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 2, 2, len(central), start, 0)
    refused(tmp_path, "set.zip", outer[:start] + central + tail, "overlaps")


def test_an_encrypted_archive_says_so(tmp_path: Path) -> None:
    data = bytearray(zip_of(("a", b"secret")))
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(signature) + flags] |= 1
    refused(tmp_path, "set.zip", bytes(data), "password", Unsupported)


def test_an_unknown_method_says_so(tmp_path: Path) -> None:
    data = bytearray(zip_of(("a", b"12345")))
    for signature, method in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        data[data.index(signature) + method] = 97
    refused(tmp_path, "set.zip", bytes(data), "Python reads", Unsupported)


@pytest.mark.parametrize(
    "name", ["set.zip", "set.tar", "set.tar.gz", "set.tar.xz", "a.gz", "a.bz2", "a.xz"]
)
@pytest.mark.parametrize("data", [b"", b"rubbish" * 1000])
def test_rubbish_is_refused(tmp_path: Path, name: str, data: bytes) -> None:
    if name == "a.gz" and data == b"":
        return  # gzip takes that for nothing, compressed
    refused(tmp_path, name, data, "must be whole|breaks off")


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    plain = os.urandom(5000)
    for name, data in {
        "set.zip": zip_of(("a", plain)),
        "set.tar.gz": gzip.compress(tar_of(tar_member("a", plain))),
        "set.tar.bz2": bz2.compress(tar_of(tar_member("a", plain))),
        "set.tar.xz": lzma.compress(tar_of(tar_member("a", plain))),
        "a.gz": gzip.compress(plain),
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        flipped = bytearray(data)
        flipped[3000] ^= 1
        refused(folder, name, bytes(flipped), "must be whole")


@pytest.mark.parametrize("ending", COMPRESS)
def test_a_truncated_tar_is_found_wherever_it_breaks_off(tmp_path: Path, ending: str) -> None:
    members = [tar_member(str(i), os.urandom(700)) for i in range(5)]
    whole = COMPRESS[ending](tar_of(*members))
    archive = tmp_path / f"set.tar{ending}"
    step = 97
    complete = 5 * (512 + 1024) if ending == "" else len(whole)  # the rest is padding
    for size in range(step, complete, step):
        if ending == "" and size % 512 == 0:
            continue
        archive.write_bytes(whole[:size])
        with pytest.raises(UnsafeArchive):
            extract(archive, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == [archive.name]


def test_a_broken_header_in_the_middle_is_not_the_end(tmp_path: Path) -> None:
    data = bytearray(tar_of(tar_member("a", b"1"), tar_member("b", b"2")))
    data[1024 + 3] ^= 0xFF
    refused(tmp_path, "set.tar", bytes(data), "breaks off")


def test_a_header_that_announces_gigabytes_is_refused(tmp_path: Path) -> None:
    for kind in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME):
        header = tarfile.TarInfo("x")
        header.type = kind
        header.size = 1 << 33
        data = header.tobuf(tarfile.GNU_FORMAT) + bytes(10_240)
        folder = tmp_path / f"{kind!r}".replace("'", "")
        folder.mkdir()
        refused(folder, "set.tar.gz", gzip.compress(data), "headers of a tar take")


def test_headers_upon_headers_are_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type = tarfile.XHDTYPE
    header.size = 12
    block = header.tobuf(tarfile.GNU_FORMAT) + b"12 path=abc\n".ljust(512, b"\0")
    refused(tmp_path, "set.tar", block * 2000 + bytes(1024), "must be whole|headers of")


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, b"Z"])
def test_a_negative_size_is_refused(tmp_path: Path, kind: bytes) -> None:
    header = bytearray(tar_of(tar_member("a", type=kind))[:512])
    header[124:136] = b"\xff" * 10 + b"\xfe\x00"  # -512 in base 256
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    refused(tmp_path, "set.tar", bytes(header) + bytes(1024), "size of -512|headers|unknown|whole")


def test_modes_are_plain(tmp_path: Path) -> None:
    tar = tar_of(
        tar_member("run", b"", mode=0o7755),
        tar_member("read", b"", mode=0o6444),
        tar_member("none", b"", mode=0),
        tar_member("folder", type=tarfile.DIRTYPE, mode=0),
        tar_member("folder/in", b""),
    )
    script = zipfile.ZipInfo("run")
    script.create_system = 3
    script.external_attr = (stat.S_IFREG | 0o6755) << 16
    (tmp_path / "set.tar").write_bytes(tar)
    (tmp_path / "set.zip").write_bytes(zip_of((script, b""), ("read", b"")))
    umask = os.umask(0o022)
    try:
        extract(tmp_path / "set.tar", tmp_path / "a")
        extract(tmp_path / "set.zip", tmp_path / "b")
    finally:
        os.umask(umask)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "a").rglob("*")}
    assert modes == {"run": 0o755, "read": 0o644, "none": 0o644, "folder": 0o755, "in": 0o644}
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "b").rglob("*")}
    assert modes == {"run": 0o755, "read": 0o644}


def test_a_file_needs_a_name(tmp_path: Path) -> None:
    refused(tmp_path, "set.tar", tar_of(tar_member("./")), "is empty")


def test_a_full_disk_is_told_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*words: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tt_cloud.datasets._archives.limits.Meter.add", full)
    data = zip_of(("a", b"1"))
    refused(tmp_path, "set.zip", data, "No space left", OSError)


def test_a_folder_that_is_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "set.zip").write_bytes(zip_of(("a", b"")))
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError, match="out is there"):
        extract(tmp_path / "set.zip", tmp_path / "out")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError, match="link is there"):
        extract(tmp_path / "set.zip", tmp_path / "link")


def test_another_kind_of_file_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "set.npz").write_bytes(zip_of(("a", b"")))
    with pytest.raises(Unsupported, match=r"set\.npz"):
        extract(tmp_path / "set.npz", tmp_path / "out")


def test_it_can_be_stopped(tmp_path: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    refused(tmp_path, "set.zip", zip_of(("a", b"")), "cancel", Cancelled, cancel=cancel)


def test_a_missing_archive_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        extract(tmp_path / "none.zip", tmp_path / "out")
    assert not list(tmp_path.iterdir())
