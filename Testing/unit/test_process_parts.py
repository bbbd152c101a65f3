"""The parts of the process layer that need no Qt."""

import logging
import os
import subprocess
import sys
import time

import pytest

from backend_listener import alive
from Sketch2CTModuleLib import ProcessTree
from Sketch2CTModuleLib.ChildEnd import ChildEnd
from Sketch2CTModuleLib.JsonLines import JsonLines
from Sketch2CTModuleLib.Signal import Signal


def test_a_signal_calls_its_listeners_in_order_and_once_each():
    signal, heard = Signal(), []
    signal.connect(heard.append)
    signal.connect(heard.append)
    signal.connect(lambda value: heard.append(-value))
    signal.emit(3)
    signal.disconnect(heard.append)
    signal.disconnect(print)
    signal.emit(4)
    assert heard == [3, -3, -4]


def test_a_listener_that_raises_is_logged_and_the_others_are_called(caplog):
    signal, heard = Signal(), []
    signal.connect(lambda: 1 / 0)
    signal.connect(lambda: heard.append(1))
    with caplog.at_level(logging.ERROR):
        signal.emit()
    assert heard == [1] and "ZeroDivisionError" in caplog.text


def test_a_listener_that_leaves_meanwhile_is_not_called():
    signal, heard = Signal(), []

    def first():
        signal.disconnect(second)
        signal.connect(lambda: heard.append("new"))

    def second():
        heard.append("second")

    signal.connect(first)
    signal.connect(second)
    signal.emit()
    assert heard == []


def test_messages_come_whole_however_the_bytes_are_cut():
    text = '{"a": "Größe 下顎"}\n\n  {"b": [1,\t2]}\r\n{"c": null}\n'.encode()
    for size in (1, 2, 3, 7, len(text)):
        lines = JsonLines()
        found = [message for n in range(0, len(text), size) for message in lines.feed(text[n : n + size])]
        assert found == [{"a": "Größe 下顎"}, {"b": [1, 2]}, {"c": None}] and lines.takeGarbage() == ""
    assert JsonLines().feed(b'{"open": 1}') == []


@pytest.mark.parametrize("garbage", [b"hello", b"[1]", b"3", b'{"a": ', b"\xff\xfe", b"[" * 100_000, b"\x00"])
def test_what_is_no_message_is_garbage_and_the_next_line_counts(garbage):
    lines = JsonLines()
    assert lines.feed(garbage + b'\n{"a": 1}\n') == [{"a": 1}]
    kept = lines.takeGarbage()
    assert kept and len(kept) < 1100 and kept.count("\n") == 1 and lines.takeGarbage() == ""


def test_bytes_that_are_no_utf8_are_replaced():
    assert JsonLines().feed(b'{"a": "\xff"}\n') == [{"a": "\ufffd"}]


def test_a_line_that_is_too_long_is_skipped_to_its_end():
    lines = JsonLines(maxLine=20)
    assert lines.feed(b'{"a": "' + b"x" * 30) == [] and lines.feed(b"y" * 100) == []
    assert lines.feed(b'z"}\n{"b": 1}\n') == [{"b": 1}]
    assert "longer than 20 bytes" in lines.takeGarbage()
    assert lines.feed(b'{"b": "23456789012"}\n') == [{"b": "23456789012"}]


@pytest.mark.parametrize("how", ["proc", "ps"])
def test_a_whole_tree_is_killed_and_nothing_else(monkeypatch, how):
    if how == "ps":
        monkeypatch.setattr(ProcessTree, "_PROC", ProcessTree.Path("/nowhere"))
    program = "import time; time.sleep(300)"
    for _ in range(2):
        program = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {program!r}]); print(p.pid, flush=True); p.wait()"
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        pids = [process.pid, int(process.stdout.readline()), int(process.stdout.readline())]
        assert ProcessTree.descendants(process.pid) == pids
        begin = time.monotonic()
        ProcessTree.kill(process.pid, None, 0)
        assert time.monotonic() - begin < 1
        process.wait(5)
        end = time.monotonic() + 5
        while any(alive(pid) for pid in pids) and time.monotonic() < end:
            time.sleep(0.01)
        assert not any(alive(pid) for pid in pids) and alive(other.pid)
        ProcessTree.kill(*pids)
    other.kill()
    other.wait()


def test_this_process_is_never_ended():
    ProcessTree.kill(os.getpid(), 1, 0, -1, None)
    ProcessTree.terminate(os.getpid(), None)


def test_an_end_is_told_in_words():
    assert ChildEnd(True, False, 3).describe() == "exit code 3" and ChildEnd(True, False, 3).exitCode == 3
    assert ChildEnd(True, True, 11).describe() == "signal SIGSEGV" and ChildEnd(True, True, 11).exitCode == -11
    assert ChildEnd(True, True, 9).wasKilled and ChildEnd(True, False, 137).wasKilled and not ChildEnd(True, False, 9).wasKilled
    assert ChildEnd(False, False, -1, "no such file").describe() == "no such file" and ChildEnd(False, False, -1).exitCode == -1
