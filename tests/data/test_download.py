"""Downloads: resumed, checked before anything is unpacked, never half-written under a final name."""

import gzip
import hashlib
import io
import logging
import random
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
import torchvision.datasets
from PIL import Image

from aecore import config, locks
from aecore.data import DataNotFound, DownloadFailed, download, load
from aecore.locks import exclusive

CONTENT = random.Random(0).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def fetch(server, root):
    return download.fetch(server.address + "file.zip", root / "file.zip", len(CONTENT), SHA256)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_download_arrives_whole(server, root):
    server.files["file.zip"] = CONTENT
    assert fetch(server, root).read_bytes() == CONTENT
    assert names(root) == ["file.zip"]


def test_a_broken_download_keeps_what_came_under_another_name(server, root):
    server.files["file.zip"], server.break_after = CONTENT, 100_000
    with pytest.raises(DownloadFailed, match=r"100,000 bytes that came are kept; load again"):
        fetch(server, root)
    assert names(root) == ["file.zip.part"]


def test_a_resumed_download_goes_on_where_it_stopped(server, root):
    server.files["file.zip"], server.break_after = CONTENT, 100_000
    with pytest.raises(DownloadFailed):
        fetch(server, root)
    server.break_after = None
    assert fetch(server, root).read_bytes() == CONTENT
    assert server.requests == [("file.zip", None), ("file.zip", "bytes=100000-")]


def test_a_server_that_cannot_resume_begins_again(server, root):
    server.files["file.zip"], server.understands_range = CONTENT, False
    (root / "file.zip.part").write_bytes(CONTENT[:1000])
    assert fetch(server, root).read_bytes() == CONTENT


def test_a_part_that_is_already_complete_is_not_requested_again(server, root):
    (root / "file.zip.part").write_bytes(CONTENT)
    assert fetch(server, root).read_bytes() == CONTENT
    assert server.requests == []


def test_a_file_that_is_truncated_on_the_server_is_not_begun(server, root):
    server.files["file.zip"] = CONTENT[:-1]
    with pytest.raises(DownloadFailed, match=r"is truncated: 299,999 bytes, wanted 300,000\. Nothing of it"):
        fetch(server, root)
    assert names(root) == []


def test_a_part_longer_than_what_the_server_has_is_deleted_too(server, root):
    server.files["file.zip"] = CONTENT[:50]
    (root / "file.zip.part").write_bytes(CONTENT[:1000])
    with pytest.raises(DownloadFailed, match="It was deleted"):
        fetch(server, root)
    assert names(root) == []


def test_a_file_that_is_too_long_is_not_begun(server, root):
    server.files["file.zip"] = CONTENT + b"more"
    with pytest.raises(DownloadFailed, match=r"is too long: 300,004 bytes, wanted 300,000\. Nothing of it was written"):
        fetch(server, root)
    assert names(root) == []


def test_an_answer_that_never_ends_is_cut_at_the_size_of_the_file(server, root, monkeypatch):
    # Twice as long and no length: the right bytes first, then others.
    server.files["file.zip"], server.headers = CONTENT * 2, {"Content-Length": None}
    assert fetch(server, root).read_bytes() == CONTENT


KEPT = CONTENT[:100_000]


@pytest.fixture
def kept(server, root):
    """A download that broke off after 100,000 bytes; returns the file in which they are."""
    server.files["file.zip"] = CONTENT
    part = root / "file.zip.part"
    part.write_bytes(KEPT)
    return part


def test_the_login_page_of_a_network_leaves_what_was_kept(server, root, kept):
    server.files["file.zip"], server.understands_range = b"<html>Please log in</html>", False
    server.headers = {"Content-Type": "text/html; charset=utf-8"}
    with pytest.raises(DownloadFailed, match=r"a web page came .* log in first.* 100,000 bytes that came are kept"):
        fetch(server, root)
    assert kept.read_bytes() == KEPT


def test_a_login_page_without_a_type_leaves_what_was_kept(server, root, kept):
    server.files["file.zip"], server.understands_range = b"<html>Please log in</html>", False
    with pytest.raises(DownloadFailed, match=r"is truncated: 26 bytes.* are kept"):
        fetch(server, root)
    assert kept.read_bytes() == KEPT


def test_a_beginning_without_a_length_leaves_what_was_kept(server, root, kept):
    server.understands_range, server.headers = False, {"Content-Length": None}
    with pytest.raises(DownloadFailed, match=r"begins again and does not say how long .* are kept"):
        fetch(server, root)
    assert kept.read_bytes() == KEPT


def test_an_answer_from_another_byte_on_leaves_what_was_kept(server, root, kept):
    server.headers = {"Content-Range": "bytes 5-200004/300000"}
    with pytest.raises(DownloadFailed, match=r"'bytes 5-200004/300000' where byte 100,000 was to come next.* are kept"):
        fetch(server, root)
    assert kept.read_bytes() == KEPT


def test_the_right_content_range_goes_on(server, root, kept):
    server.headers = {"Content-Range": "bytes 100000-299999/300000"}
    assert fetch(server, root).read_bytes() == CONTENT


def test_a_drip_of_bytes_counts_as_broken_off(server, root, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.2)
    server.files["file.zip"], server.drip = CONTENT, 0.02
    before = time.monotonic()
    with pytest.raises(DownloadFailed, match=r"fewer than 2,000 bytes a second .* are kept"):
        fetch(server, root)
    assert time.monotonic() - before < 5


def test_several_at_once_all_get_the_file_from_one_download(server, root):
    # Threads, since processes take seconds to start: their locks exclude each other in the same way.
    server.files["file.zip"] = CONTENT
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: fetch(server, root), range(4)))
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert (len(server.requests), names(root)) == (1, ["file.zip"])


def test_several_loads_at_once_download_a_set_once(mnist_server, root):
    with ThreadPoolExecutor(3) as pool:
        assert len(set(pool.map(lambda _: load("mnist").fingerprints, range(3)))) == 1
    together = len(mnist_server.requests)
    for file in (*root.glob("*.npz"), *(root / "MNIST" / "raw").iterdir()):
        file.unlink()
    load("mnist")
    assert len(mnist_server.requests) == 2 * together


def test_a_lock_file_that_was_left_behind_does_not_hold(root):
    (root / "a.lock").touch()
    with exclusive(root / "a.lock"):
        pass
    assert names(root) == []


def test_a_lock_on_a_file_that_was_removed_meanwhile_does_not_count(root, monkeypatch):
    # Who held it removes the file between our opening it and our locking it: a third one may hold a new file by now.
    take, removed = locks._try_lock, []

    def take_late(stream):
        if not removed:
            removed.append((root / "a.lock").unlink())
        return take(stream)

    monkeypatch.setattr(locks, "_try_lock", take_late)
    with exclusive(root / "a.lock"):
        assert (root / "a.lock").exists()


def test_who_waits_for_a_lock_says_so_once(root, monkeypatch, caplog):
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(config.log, "propagate", True)
    entered = []

    def wait():
        with exclusive(root / "a.lock"):
            entered.append(True)

    with caplog.at_level(logging.INFO, "aecore"):
        with exclusive(root / "a.lock"):
            other = threading.Thread(target=wait)
            other.start()
            time.sleep(0.1)
            assert not entered
        other.join()
    assert entered
    assert caplog.text.count("a.lock; waiting for it") == 1


def test_a_wrong_sha256_is_deleted_and_both_digests_are_named(server, root):
    server.files["file.zip"] = bytes(len(CONTENT))
    with pytest.raises(DownloadFailed, match=rf"wrong SHA-256 [0-9a-f]{{64}}, wanted {SHA256}\. It was deleted"):
        fetch(server, root)
    assert names(root) == []


def test_a_missing_file_names_the_answer_of_the_server(server, root):
    with pytest.raises(DownloadFailed, match="404"):
        fetch(server, root)
    assert names(root) == []


def zipped(members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for member, content in members.items():
            file.writestr(member, content)
    return stream.getvalue()


def png(width, height):
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (10, 20, 30)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("evil", ["../evil.png", "X2/../../evil.png", "/evil.png", "..\\evil.png", "C:/evil.png"])
def test_a_zip_that_would_write_outside_is_refused(root, evil):
    archive = root / "a.zip"
    archive.write_bytes(zipped({"X2/0001.png": b"fine", evil: b"evil"}))
    with pytest.raises(DownloadFailed, match="would be written outside"):
        download.unzip(archive, root, "X2")
    assert names(root) == ["a.zip"]


def test_a_zip_with_a_link_is_refused(root):
    link = zipfile.ZipInfo("X2/link")
    link.external_attr = 0o120777 << 16
    archive = root / "a.zip"
    archive.write_bytes(zipped({link: "/etc/passwd"}))
    with pytest.raises(DownloadFailed, match="is a link"):
        download.unzip(archive, root, "X2")
    assert names(root) == ["a.zip"]


def test_a_zip_without_the_wanted_folder_is_refused(root):
    (root / "a.zip").write_bytes(zipped({"other/0001.png": b""}))
    with pytest.raises(DownloadFailed, match=r"a\.zip does not hold the folder X2"):
        download.unzip(root / "a.zip", root, "X2")


@pytest.fixture
def div2k_server(server, monkeypatch, official_counts):
    """DIV2K as it is laid out, but with 10 + 3 photographs of 20×16."""
    files = {}
    for folder, count in (("DIV2K_train_LR_bicubic/X2", 10), ("DIV2K_valid_LR_bicubic/X2", 3)):
        archive = download.DIV2K_FILES[folder][0]
        content = zipped({f"{folder}/{number:04d}x2.png": png(20, 16) for number in range(count)})
        server.files[archive] = content
        files[folder] = (archive, len(content), hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(download, "DIV2K_FILES", files)
    monkeypatch.setattr(download, "DIV2K_BASE", server.address)
    official_counts("div2k", 10, 2, 3)
    return server


def test_div2k_is_downloaded_unpacked_and_cropped(div2k_server):
    splits = load("div2k", size=16)
    assert [tuple(part.pixels.shape) for part in vars(splits).values()] == [
        (8, 3, 16, 16),
        (2, 3, 16, 16),
        (3, 3, 16, 16),
    ]
    assert splits.train.pixels[0, :, 0, 0].tolist() == [10, 20, 30]


def test_after_div2k_only_folders_and_cache_are_left(div2k_server, root):
    load("div2k", size=16)
    cached = [f"div2k-16-{part}.npz" for part in ("test", "train", "valid")]
    assert names(root) == ["DIV2K_train_LR_bicubic", "DIV2K_valid_LR_bicubic", *cached]


def test_div2k_from_our_own_download_is_official_by_checksum(div2k_server, root):
    load("div2k", size=16)
    for file in root.glob("*.npz"):
        file.unlink()
    source = load("div2k", size=16).provenance.source
    assert source == "DIV2K, official files, halved by bicubic resizing (X2), centre crops of 16×16"


@pytest.mark.parametrize("change", ["the receipt", "a picture"])
def test_div2k_without_its_receipt_or_with_another_picture_is_official_by_count_only(div2k_server, root, change):
    load("div2k", size=16)
    for file in root.glob("*.npz"):
        file.unlink()
    if change == "the receipt":
        (root / "DIV2K_train_LR_bicubic" / "X2.download.json").unlink()
    else:
        (root / "DIV2K_train_LR_bicubic" / "X2" / "0000x2.png").write_bytes(png(200, 100))
    source = load("div2k", size=16).provenance.source
    assert source.startswith("DIV2K, official files by count, not by checksum, halved")


def test_of_div2k_only_the_missing_half_is_downloaded(div2k_server):
    valid = div2k_server.files.pop("DIV2K_valid_LR_bicubic_X2.zip")
    with pytest.raises(DataNotFound):
        load("div2k", size=16)
    div2k_server.files["DIV2K_valid_LR_bicubic_X2.zip"] = valid
    load("div2k", size=16)
    assert [file for file, _ in div2k_server.requests].count("DIV2K_train_LR_bicubic_X2.zip") == 1


def test_div2k_with_a_wrong_sha256_is_never_unpacked(div2k_server, root):
    archive = "DIV2K_train_LR_bicubic_X2.zip"
    div2k_server.files[archive] = bytes(len(div2k_server.files[archive]))
    with pytest.raises(DataNotFound, match="wrong SHA-256"):
        load("div2k", size=16)
    assert names(root) == []


@pytest.fixture
def mnist_server(server, monkeypatch, official_counts, write_mnist, tmp_path):
    """MNIST's four archives, with 24 + 4 images, on a mirror of our own."""
    write_mnist(folder=tmp_path / "elsewhere")
    resources = []
    for path in sorted((tmp_path / "elsewhere" / "MNIST" / "raw").iterdir()):
        content = gzip.compress(path.read_bytes())
        server.files[f"{path.name}.gz"] = content
        resources.append((f"{path.name}.gz", hashlib.md5(content).hexdigest()))
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [server.address])
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
    official_counts("mnist", 24, 2, 4)
    return server


def test_mnist_comes_through_torchvisions_download(mnist_server, root):
    splits = load("mnist")
    assert [len(part) for part in vars(splits).values()] == [22, 2, 4]
    assert splits.provenance.source == "MNIST, official files"
    assert names(root) == ["MNIST", "mnist-test.npz", "mnist-train.npz", "mnist-valid.npz"]


def test_the_second_load_asks_no_server(mnist_server):
    load("mnist")
    before = len(mnist_server.requests)
    load("mnist")
    assert len(mnist_server.requests) == before > 0


def test_a_download_that_stops_in_the_middle_leaves_nothing_behind(mnist_server, root):
    del mnist_server.files["train-labels-idx1-ubyte.gz"]
    with pytest.raises(DataNotFound, match="404"):
        load("mnist")
    assert names(root) == []


def test_a_wrong_md5_from_a_mirror_leaves_nothing_behind(mnist_server, root):
    mnist_server.files["train-labels-idx1-ubyte.gz"] = gzip.compress(b"other")
    with pytest.raises(DataNotFound, match="corrupted"):
        load("mnist")
    assert names(root) == []


def test_the_checksums_of_div2k_are_those_of_the_tensorflow_datasets_list():
    assert {archive: (size, digest[:8]) for archive, size, digest in download.DIV2K_FILES.values()} == {
        "DIV2K_train_LR_bicubic_X2.zip": (925390592, "a53a4243"),
        "DIV2K_valid_LR_bicubic_X2.zip": (117763600, "60eed987"),
    }
