"""Text processing and the vocabulary."""

import doctest
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tt_nlp._text
import tt_nlp._vocabulary
from tt_nlp import NlpInputError, Vocabulary, find_sub_list, normalize_string, unicode_to_ascii


@pytest.mark.parametrize("module", [tt_nlp._text, tt_nlp._vocabulary])
def test_the_examples_in_the_docstrings(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize(
    ("text", "ascii_text"),
    [
        ("Ślusàrski", "Slusarski"),
        ("Đặng Øre œuvre", "Dang Ore oeuvre"),
        ("\N{LEFT DOUBLE QUOTATION MARK}1\N{EN DASH}2\N{RIGHT DOUBLE QUOTATION MARK}", '"1-2"'),
        ("x² ½", "x2 1/2"),
        ("Москва 12", " 12"),
    ],
)
def test_ascii(text, ascii_text):
    assert unicode_to_ascii(text) == ascii_text


@given(st.text())
def test_ascii_is_ascii_and_stays(text):
    once = unicode_to_ascii(text)
    assert once.isascii()
    assert unicode_to_ascii(once) == once


@pytest.mark.parametrize(
    ("text", "convert", "normal"),
    [
        ("Ça va?", True, "ca va ?"),
        ("Ça va?", False, "ça va ?"),
        ("snake_case 42 Ünï", False, "snake case ünï"),
        ("हिन्दी, 3.14", False, "हिन्दी ."),
        ("  \n", True, ""),
    ],
)
def test_normal_strings(text, convert, normal):
    assert normalize_string(text, unicode_to_ascii_convert=convert) == normal


@given(st.text())
def test_a_normal_string_is_normal(text):
    once = normalize_string(text)
    assert set(once) <= set("abcdefghijklmnopqrstuvwxyz.!? ")
    assert normalize_string(once) == once


@given(
    st.lists(st.integers(0, 2), max_size=12), st.lists(st.integers(0, 2), min_size=1, max_size=3)
)
def test_finding_a_list_in_a_list(main, sub):
    ends = [i for i in range(len(main)) if main[i : i + len(sub)] == sub]
    expected = (ends[0], ends[0] + len(sub) - 1) if ends else None
    assert find_sub_list(sub, main) == expected
    assert find_sub_list(tuple(sub), np.array(main)) == expected


def test_nothing_is_nowhere():
    with pytest.raises(NlpInputError, match="at least one item; it is empty"):
        find_sub_list([], [1])


@pytest.fixture
def vocabulary():
    made = Vocabulary("pets")
    made.add_sentence(["the", "cat", "and", "the", "dog", "and", "the", "end"])
    return made


def test_numbers_follow_the_default_tokens(vocabulary):
    assert vocabulary.num_words == 9
    assert vocabulary.index2word == {
        0: "PAD",
        1: "OOV",
        2: "SOS",
        3: "EOS",
        4: "the",
        5: "cat",
        6: "and",
        7: "dog",
        8: "end",
    }
    assert vocabulary.word2index == {"the": 4, "cat": 5, "and": 6, "dog": 7, "end": 8}
    assert vocabulary.word2count == {"the": 3, "cat": 1, "and": 2, "dog": 1, "end": 1}


def test_documents_have_two_more():
    made = Vocabulary("documents", document_level=True)
    made.add_word("PAD")
    assert made.index2word[4] == "SOD"
    assert made.index2word[5] == "EOD"
    assert made.word2index == {"PAD": 6}


def test_there_and_back(vocabulary):
    assert vocabulary.convert_sent2idx_sent(["the", "bird"]) == [2, 4, 1, 3]
    assert vocabulary.convert_sent2idx_sent(["the", "bird"], start_end_token=False) == [4, 1]
    numbers = np.array([2, 4, 1, 5, 3, 0])
    words = ["SOS", "the", "OOV", "cat", "EOS", "PAD"]
    assert vocabulary.convert_idx_sent2sent(numbers) == words
    assert vocabulary.convert_idx_sent2sent(numbers, rm_default_tokens=True) == ["the", "cat"]


@pytest.mark.parametrize("number", [-1, 9])
def test_a_number_without_a_word(vocabulary, number):
    with pytest.raises(NlpInputError, match=f"from 0 to 8; {number} came"):
        vocabulary.convert_idx_sent2sent([4, number])


def test_a_text_is_no_sentence(vocabulary):
    with pytest.raises(NlpInputError, match="list of words; 'the cat' came"):
        vocabulary.add_sentence("the cat")


def test_trimming_keeps_counts_and_leaves_no_gaps(vocabulary):
    vocabulary.trim(2)
    assert vocabulary.word2count == {"the": 3, "and": 2}
    assert vocabulary.word2index == {"the": 4, "and": 5}
    assert vocabulary.index2word[5] == "and"
    assert vocabulary.num_words == 6
    vocabulary.add_word("cat")
    assert vocabulary.word2index["cat"] == 6


def test_trimming_an_empty_vocabulary():
    made = Vocabulary("empty")
    made.trim(3)
    assert made.num_words == 4


@pytest.mark.parametrize("document_level", [False, True])
def test_the_state_is_json(document_level):
    made = Vocabulary("pets", document_level)
    made.add_sentence(["z", "a", "z"])
    again = Vocabulary("other")
    again.load_state_dict(json.loads(json.dumps(made.state_dict(), sort_keys=True)))
    assert vars(again) == vars(made)
