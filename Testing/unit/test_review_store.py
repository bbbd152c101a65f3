"""Verdicts on disk: kept at once, counted by the newest, migrated, merged, and refused in words when the disk or the file will not."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from sketch2ct.errors import BadRequest, WriteFailed
from sketch2ct.review.store import ReviewStore
from sketch2ct.review.verdict import Verdict

KILLS = 200
# Adds a verdict for each case it is told of, and says so in the line after.
CHILD = """
import sys
from sketch2ct.review.store import ReviewStore
from sketch2ct.review.verdict import Verdict
store = ReviewStore(sys.argv[1])
for line in sys.stdin:
    store.add(Verdict(line.strip(), "AB", "accepted"))
    print(line.strip(), flush=True)
"""
# The same work without a new interpreter each time: forked children of one process, each killed by its parent at its line.
FORKS = """
import os, signal, sys
from sketch2ct.review.store import ReviewStore
from sketch2ct.review.verdict import Verdict
for number in range(int(sys.argv[2])):
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        status = "rejected" if number % 3 else "accepted"
        ReviewStore(sys.argv[1]).add(Verdict(f"case-{number + 1:05d}", "AB", status, realism=1 + number % 5))
        os.write(theirs, b"x")
        while True:
            signal.pause()
    assert os.read(ours, 1) == b"x"
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    os.close(ours)
    os.close(theirs)
"""
VERSION_1 = """
CREATE TABLE verdict (id TEXT PRIMARY KEY, case_name TEXT NOT NULL, reviewer TEXT NOT NULL, status TEXT, realism INTEGER, anatomy INTEGER,
    agreement INTEGER, note TEXT, at TEXT NOT NULL, bundle_hash TEXT);
INSERT INTO verdict VALUES ('11', 'case-00001', 'AB', 'accepted', 4, NULL, 2, NULL, '2025-03-01T10:00:00.000000Z', 'abab');
INSERT INTO verdict VALUES ('12', 'case-00002', 'CD', 'rejected', NULL, 1, NULL, 'a hole', '2025-03-01T10:00:01.000000Z', NULL);
PRAGMA user_version = 1;
"""


@pytest.fixture
def store(tmp_path):
    return ReviewStore(tmp_path)


def old_file(path):
    database = sqlite3.connect(path)
    database.executescript(VERSION_1)
    database.close()
    return path.read_bytes()


def verdict(case="case-00001", reviewer="AB", status="accepted", **more):
    return Verdict(case, reviewer, status, **more)


def test_a_verdict_comes_back_as_it_was_given(store, tmp_path):
    given = {"realism": 5, "anatomy": 1, "agreement": 3, "note": "ramus 'too' thin; é", "mask_version": 2, "bundle_hash": "ab" * 32}
    added = store.add(verdict(status="needs_edit", **given))
    assert len(added.id) == 36 and added.at.endswith("Z")
    again = ReviewStore(tmp_path / "reviews.sqlite").latest()
    assert again == {("case-00001", "AB"): added} and added == verdict(status="needs_edit", **given, id=added.id, at=added.at)
    assert os.listdir(tmp_path) == ["reviews.sqlite"]  # no journal is left behind: the file is whole by itself


def test_the_newest_verdict_of_each_reviewer_counts(store):
    store.add(verdict(status="accepted"))
    store.add(verdict(status="rejected"))
    store.add(verdict("case-00002", status="needs_edit"))
    assert store.status_of("case-00001") == "rejected" and len(store.history("case-00001")) == 2
    store.add(verdict(reviewer="CD", status="accepted"))
    assert store.status_of("case-00001") == "disputed"
    store.add(verdict(reviewer="CD", status="rejected"))
    assert store.statuses() == {"case-00001": "rejected", "case-00002": "needs_edit"}
    assert set(store.latest(case="case-00001")) == {("case-00001", "AB"), ("case-00001", "CD")}
    assert set(store.latest(reviewer="AB")) == {("case-00001", "AB"), ("case-00002", "AB")} and store.reviewers() == ["AB", "CD"]


def test_scores_without_a_status_leave_a_case_unreviewed(store):
    store.add(verdict(status=None, realism=4, note="look again"))
    assert store.status_of("case-00001") == "unreviewed" and store.statuses() == {}
    store.add(verdict(reviewer="CD", status="accepted"))
    assert store.status_of("case-00001") == "accepted"


def test_a_clock_that_is_set_back_does_not_bring_an_earlier_verdict_back(store, monkeypatch):
    import datetime

    from sketch2ct.review import store as module

    store.add(verdict(status="accepted"))

    class Yesterday(datetime.datetime):
        @classmethod
        def now(cls, zone=None):
            return super().now(zone) - datetime.timedelta(days=1)

    monkeypatch.setattr(module, "datetime", Yesterday)
    store.add(verdict(status="rejected"))
    assert store.status_of("case-00001") == "rejected"


def test_undo_takes_back_step_by_step_and_only_ones_own(store):
    store.add(verdict(status="accepted", realism=2))
    store.add(verdict("case-00002", status="rejected"))
    store.add(verdict(reviewer="CD", status="needs_edit"))
    store.add(verdict(status="rejected", realism=2))
    assert store.undo("AB").status == "accepted" and store.latest()["case-00001", "AB"].realism == 2
    assert store.undo("AB").case_name == "case-00002" and store.status_of("case-00002") == "unreviewed"
    assert ("case-00002", "AB") not in store.latest()
    assert store.undo("AB").case_name == "case-00001" and store.undo("AB") is None
    assert store.status_of("case-00001") == "needs_edit" and len(store.rows()) == 7  # what was taken back is still on record
    store.add(verdict(status="accepted"))
    assert store.undo("AB").says_nothing and store.undo("AB") is None


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"status": "fine"}, "accepted, rejected, needs_edit"),
        ({"realism": 6}, "1 to 5"),
        ({"anatomy": 0}, "1 to 5"),
        ({"agreement": True}, "1 to 5"),
        ({"guess": "fake"}, "real, synthetic"),
        ({"reviewer": "  "}, "Initials suffice"),
        ({"case_name": ""}, "name of a case"),
    ],
)
def test_a_verdict_that_cannot_be_is_refused(wrong, words):
    with pytest.raises(BadRequest, match=words):
        Verdict(**({"case_name": "case-00001", "reviewer": "AB"} | wrong))


def test_no_verdict_is_lost_when_the_process_is_killed_right_after(tmp_path):
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", FORKS, str(tmp_path), str(KILLS)], check=True, timeout=60)
    kept = ReviewStore(tmp_path).rows()
    assert [row.case_name for row in kept] == [f"case-{n + 1:05d}" for n in range(KILLS)] and time.monotonic() - begun < 60
    assert [row.status for row in kept[:4]] == ["accepted", "rejected", "rejected", "accepted"] and kept[7].realism == 3


def test_what_was_said_is_on_disk_when_a_whole_program_is_killed(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for name in ("case-00001", "case-00002"):
        child.stdin.write(f"{name}\n")
        child.stdin.flush()
        assert child.stdout.readline().strip() == name
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert set(ReviewStore(tmp_path).statuses()) == {"case-00001", "case-00002"}


def test_a_file_of_version_1_is_brought_up_to_date_and_a_copy_is_kept(tmp_path):
    before = old_file(tmp_path / "reviews.sqlite")
    store = ReviewStore(tmp_path)
    first, second = store.rows()
    assert (first.status, first.realism, first.anatomy, first.agreement, first.note) == ("accepted", 4, None, 2, "")
    assert (second.note, second.mask_version, second.guess, second.bundle_hash) == ("a hole", 0, None, "")
    assert (tmp_path / "reviews.sqlite.v1").read_bytes() == before
    store.add(verdict("case-00002", "CD", "accepted", guess="real"))
    assert store.status_of("case-00002") == "accepted" and len(store.history("case-00002")) == 2
    assert sqlite3.connect(tmp_path / "reviews.sqlite").execute("PRAGMA user_version").fetchone() == (2,)
    assert sorted(os.listdir(tmp_path)) == ["reviews.sqlite", "reviews.sqlite.v1"]


def test_an_earlier_copy_of_another_old_file_is_not_overwritten(tmp_path):
    (tmp_path / "reviews.sqlite.v1").write_bytes(b"somebody's")
    before = old_file(tmp_path / "reviews.sqlite")
    assert len(ReviewStore(tmp_path).rows()) == 2
    assert (tmp_path / "reviews.sqlite.v1").read_bytes() == b"somebody's" and (tmp_path / "reviews.sqlite.v1-2").read_bytes() == before


def test_a_migration_that_fails_leaves_the_old_file_as_it_was(tmp_path, monkeypatch):
    from sketch2ct.review import database

    before = old_file(tmp_path / "reviews.sqlite")
    monkeypatch.setattr(database, "_INDEX", "CREATE INDEX nonsense ON nothing (nothing)")
    with pytest.raises(BadRequest):
        ReviewStore(tmp_path).rows()
    assert (tmp_path / "reviews.sqlite").read_bytes() == before
    monkeypatch.undo()
    assert len(ReviewStore(tmp_path).rows()) == 2


def test_a_newer_file_is_refused_and_left_alone(store):
    store.add(verdict())
    with sqlite3.connect(store.path) as database:
        database.execute("PRAGMA user_version = 3")
    before = store.path.read_bytes()
    for act in (store.rows, lambda: store.add(verdict()), lambda: store.undo("AB")):
        with pytest.raises(BadRequest, match=r"newer version.*Install the newer version"):
            act()
    assert store.path.read_bytes() == before


def test_copies_are_merged_once_whatever_their_order(tmp_path):
    mine, theirs = (ReviewStore(tmp_path / name / "reviews.sqlite") for name in ("mine", "theirs"))
    for store in (mine, theirs):
        store.path.parent.mkdir()
    mine.add(verdict(status="accepted"))
    theirs.path.write_bytes(mine.path.read_bytes())
    mine.add(verdict("case-00002", status="accepted"))
    theirs.add(verdict("case-00002", "CD", "rejected"))
    theirs.add(verdict(status="needs_edit"))
    before = theirs.path.read_bytes()
    report = mine.merge(theirs.path.parent)
    assert (report.new, report.known) == (2, 1) and theirs.path.read_bytes() == before
    assert mine.statuses() == {"case-00001": "needs_edit", "case-00002": "disputed"}
    again = mine.merge(theirs.path)
    assert (again.new, again.known) == (0, 3)
    theirs.merge(mine.path)
    assert theirs.rows() == mine.rows()


def test_a_copy_of_an_older_version_is_merged_and_stays_as_it_is(store, tmp_path):
    (tmp_path / "old").mkdir()
    before = old_file(tmp_path / "old" / "reviews.sqlite")
    store.add(verdict("case-00002", "AB", "accepted"))
    assert store.merge(tmp_path / "old").new == 2 and store.status_of("case-00002") == "disputed"
    assert (tmp_path / "old" / "reviews.sqlite").read_bytes() == before and os.listdir(tmp_path / "old") == ["reviews.sqlite"]


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + bytes(4080)])
def test_a_damaged_file_is_told_and_kept(store, content):
    store.path.write_bytes(content)
    for act in (store.rows, lambda: store.add(verdict())):
        with pytest.raises(BadRequest, match=r"damaged|not one of reviews"):
            act()
    assert store.path.read_bytes() == content


def test_a_truncated_file_is_noticed_before_its_rows_are_believed(store):
    store.add(verdict())
    rows = [(f"{number}", f"case-{number:05d}", "AB", "x" * 100, "2025") for number in range(300)]
    with sqlite3.connect(store.path) as database:
        database.executemany("INSERT INTO verdict (id, case_name, reviewer, note, at) VALUES (?, ?, ?, ?, ?)", rows)
    whole = store.path.read_bytes()
    store.path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadRequest, match="damaged"):
        ReviewStore(store.path).rows()
    with pytest.raises(BadRequest, match=r"cannot be read|damaged"):
        ReviewStore(store.path.with_name("other.sqlite")).merge(store.path)


def test_a_file_of_something_else_is_not_taken_for_reviews(store):
    with sqlite3.connect(store.path) as database:
        database.execute("CREATE TABLE bookmark (url TEXT)")
    with pytest.raises(BadRequest, match="not one of reviews"):
        store.rows()


def test_a_locked_file_is_told_after_a_moment_and_works_again(store, monkeypatch):
    from sketch2ct.review import database as module

    monkeypatch.setattr(module, "_BUSY_S", 0.1)
    store.add(verdict())
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(WriteFailed, match=r"another program.*do it again"):
        store.add(verdict(status="rejected"))
    other.execute("ROLLBACK")
    store.add(verdict(status="rejected"))
    assert store.status_of("case-00001") == "rejected" and len(store.rows()) == 2


def test_two_reviewers_write_into_one_file_at_the_same_time(store):
    def work(name):
        for number in range(20):
            ReviewStore(store.path).add(verdict(f"case-{number:05d}", name))

    threads = [threading.Thread(target=work, args=(name,)) for name in ("AB", "CD")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.rows()) == 40 and len(store.latest(reviewer="CD")) == 20


@pytest.fixture
def mounted(tmp_path):
    """Mounts a small file system; skips where that is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"cannot mount a file system here: {done.stderr.strip()}")
        return folder

    yield mount
    subprocess.run(["umount", folder], capture_output=True)


def test_a_read_only_folder_is_read_and_refuses_verdicts(mounted):
    folder = mounted("size=1m")
    ReviewStore(folder).add(verdict())
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    store = ReviewStore(folder)
    assert not store.writable and store.status_of("case-00001") == "accepted"
    with pytest.raises(WriteFailed, match="read-only"):
        store.add(verdict(status="rejected"))
    subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
    assert store.writable and store.status_of("case-00001") == "accepted"


def test_a_full_disk_loses_nothing(mounted):
    folder = mounted("size=64k")
    store = ReviewStore(folder)
    store.add(verdict())
    (folder / "ballast").write_bytes(bytes(60_000 // 4096 * 4096 - store.path.stat().st_size))
    with pytest.raises(WriteFailed, match=r"disk is full.*Free some space"):
        for _ in range(1000):
            store.add(verdict(status="rejected", note="x" * 500))
    kept = store.rows()
    assert kept[0].status == "accepted" and all(row.status == "rejected" for row in kept[1:])
    (folder / "ballast").unlink()
    store.add(verdict(status="needs_edit"))
    assert store.status_of("case-00001") == "needs_edit" and len(store.rows()) == len(kept) + 1


def test_the_first_verdict_on_a_full_disk_leaves_nothing_that_stands_in_the_way(mounted):
    folder = mounted("size=64k")
    (folder / "ballast").write_bytes(bytes(65536))
    with pytest.raises(WriteFailed, match="full"):
        ReviewStore(folder).add(verdict())
    assert ReviewStore(folder).rows() == []
    (folder / "ballast").unlink()
    ReviewStore(folder).add(verdict())
    assert ReviewStore(folder).status_of("case-00001") == "accepted"


def test_a_folder_that_is_gone_is_told(tmp_path):
    with pytest.raises(WriteFailed, match="gone"):
        ReviewStore(tmp_path / "gone" / "reviews.sqlite").add(verdict())
