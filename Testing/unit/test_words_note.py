"""The live note under the description, and the examples it is meant to explain."""

import pytest

from sketch2ct.anatomy import find, vocabulary
from sketch2ct.describe import read
from Sketch2CTModuleLib.Examples import examplesFor
from Sketch2CTModuleLib.WordsNote import wordsNote


def test_numbers_and_words_of_degree_are_named_with_what_they_measure():
    note = wordsNote("A broad mandible, about 62 mL")
    assert "<b>mandible</b>" in note
    assert "<b>62 mL</b> → volume 62 mL" in note
    assert "<b>broad</b> → width above 88 % of cases" in note


def test_a_word_gives_way_to_a_number_for_the_same_fact():
    note = wordsNote("a large mandible of 45 mL")
    assert "large" not in note and "volume 45 mL" in note


def test_text_without_measured_words_is_told_apart_from_no_text():
    assert "Optional" in wordsNote("  ")
    assert "None of these words" in wordsNote("quite unremarkable")


def test_markup_in_the_text_stays_text():
    assert "<script>" not in wordsNote("<script>62 mL</script> <b>mandible")


@pytest.mark.parametrize("name", [name for name, entry in vocabulary().items() if not entry.derived])
def test_every_structure_has_examples_that_name_it_and_are_measured(name):
    for text in examplesFor(name):
        reading = read(text)
        assert find(text) == [name] and (reading.values or reading.levels), text
