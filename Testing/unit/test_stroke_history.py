"""Undo and redo over plain values."""

from __future__ import annotations

import pytest

from Sketch2CTModuleLib.StrokeHistory import StrokeHistory


def test_undo_goes_back_and_redo_comes_again():
    history = StrokeHistory(())
    for state in ("a", "b", "c"):
        history.push(state)
    assert [history.undo(), history.undo(), history.undo(), history.undo()] == ["b", "a", (), ()]
    assert [history.redo(), history.redo()] == ["a", "b"]
    assert history.state == "b"


def test_a_new_step_ends_what_was_undone():
    history = StrokeHistory(0)
    history.push(1)
    history.push(2)
    history.undo()
    history.push(3)
    assert not history.canRedo
    assert history.redo() == 3
    assert [history.undo(), history.undo()] == [1, 0]


def test_it_tells_what_can_be_done():
    history = StrokeHistory(0)
    assert (history.canUndo, history.canRedo) == (False, False)
    history.push(1)
    assert (history.canUndo, history.canRedo) == (True, False)
    history.undo()
    assert (history.canUndo, history.canRedo) == (False, True)


@pytest.mark.parametrize("limit", [1, 5, 200])
def test_the_oldest_steps_beyond_the_limit_are_forgotten(limit):
    history = StrokeHistory(0, limit)
    for state in range(1, limit + 8):
        history.push(state)
    steps = 0
    while history.canUndo:
        history.undo()
        steps += 1
    assert (steps, history.state) == (limit, 7)


def test_a_restart_leaves_nothing_to_undo():
    history = StrokeHistory(0)
    history.push(1)
    history.undo()
    history.restart(9)
    assert (history.state, history.canUndo, history.canRedo) == (9, False, False)
