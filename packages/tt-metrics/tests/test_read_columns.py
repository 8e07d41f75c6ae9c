"""What files hold is read as it is meant, or not at all."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_metrics._command.columns import Columns, aligned, read_columns
from tt_metrics.api import MetricInputError


@pytest.fixture
def write(tmp_path):
    def write(name, text, encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return str(path)

    return write


def values(source, **settings):
    return read_columns(source, **settings).values


class TestTypes:
    def test_whole_numbers_are_integers(self, write):
        read = values(write("a.csv", "2\n0\n-1\n"))
        assert read.dtype == np.int64
        assert read.tolist() == [2, 0, -1]

    def test_one_fraction_makes_floats(self, write):
        read = values(write("a.csv", "2\n.5\n-1e-3\n"))
        assert read.dtype == np.float64
        assert read.tolist() == [2, 0.5, -0.001]

    def test_texts_are_labels_without_the_blanks_around_them(self, write):
        assert values(write("a.csv", "cat\n dog \ncat\n")).tolist() == ["cat", "dog", "cat"]

    def test_digits_with_underscores_are_texts(self, write):
        assert values(write("a.csv", "1_0\n1_2\n1_0\n"), header=False).tolist()[1] == "1_2"

    def test_cells_that_are_all_labels_are_texts(self, write):
        path = write("a.csv", "1\n2\nnone\n1\n")
        assert values(path, labels=["1", "2", "none"], header=False).tolist() == [
            *"12",
            "none",
            "1",
        ]

    @given(numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
    def test_floats_come_back_bit_for_bit(self, numbers, tmp_path_factory):
        path = tmp_path_factory.mktemp("floats") / "a.csv"
        path.write_text("\n".join(map(repr, numbers)))
        assert values(f"{path}:1", header=False).tolist() == numbers

    @given(
        labels=st.lists(
            st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Nd"]), min_size=1)
            .map(str.strip)
            .filter(lambda text: text.lower().lstrip("+-") not in ("", "nan", "inf", "infinity")),
            min_size=1,
        )
    )
    def test_texts_come_back_whatever_they_hold(self, labels, tmp_path_factory):
        path = tmp_path_factory.mktemp("texts") / "a.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["name", "x"], *([label, "x"] for label in labels)])
        assert values(f"{path}:name").tolist() == labels


class TestHeader:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("score\n0.5\n0.25\n", [0.5, 0.25]),
            ("Label\ncat\ndog\n", ["cat", "dog"]),
            ("true\ncat\ndog\n", ["cat", "dog"]),
            ("true\nfalse\ntrue\n", ["true", "false", "true"]),
            ("y\nn\ny\n", ["y", "n", "y"]),
            ("cat\ndog\ncat\n", ["cat", "dog", "cat"]),
            ("1\n0\n", [1, 0]),
            ("0.5\n", [0.5]),
            ("a,b\n1,2\n3,4\n", [[1, 2], [3, 4]]),
            ("0,1\n1,0\n", [[0, 1], [1, 0]]),
            ("1,1\n0.5,0\n", [[1, 1], [0.5, 0]]),
            ("100\n99.5\n", [100, 99.5]),
        ],
    )
    def test_found_where_it_is_certain(self, write, text, expected):
        assert values(write("a.csv", text)).tolist() == expected

    @pytest.mark.parametrize(
        "text", ["cat\ndog\nbird\n", "cat\n", "2,1\n0.2,0.8\n", "0\n0.5\n", "true\nfalse\n"]
    )
    def test_a_doubtful_one_is_an_error_until_it_is_settled(self, write, text):
        path = write("a.csv", text)
        with pytest.raises(MetricInputError, match=r"line 1: .* Say --header or --no-header"):
            read_columns(path)
        rows = text.count("\n")
        assert len(values(path, header=False)) == rows
        if rows > 1:
            assert len(values(path, header=True)) == rows - 1

    @pytest.mark.parametrize(
        "name",
        ["pred", "predicted", "Prediction", "truth", "true", "gold", "target", "output", "y"],
    )
    def test_usual_names_are_no_labels(self, write, name):
        assert values(write("a.csv", f"{name}\ncat\ndog\n")).tolist() == ["cat", "dog"]

    def test_a_name_that_was_asked_for_settles_it(self, write):
        assert values(write("a.csv", "animal\ncat\ndog\n") + ":animal").tolist() == ["cat", "dog"]

    def test_alone_it_is_not_enough(self, write):
        with pytest.raises(MetricInputError, match="below its header"):
            read_columns(write("a.csv", "label\n"))

    def test_text_files_have_none_unless_told(self, write):
        path = write("a.txt", "label\ncat, black\n")
        assert values(path).tolist() == ["label", "cat, black"]
        assert values(path, header=True).tolist() == ["cat, black"]


class TestEnds:
    @pytest.mark.parametrize("name", ["a.csv", "a.txt"])
    def test_empty_lines_at_the_end_are_no_rows(self, write, name):
        assert values(write(name, "1\n2\n\n\n")).tolist() == [1, 2]

    def test_windows_line_ends_and_a_byte_order_mark_are_no_content(self, write):
        assert values(write("a.csv", "\ufefflabel\r\ncat\r\n")).tolist() == ["cat"]
        assert values(write("a.txt", "\ufeffcat\r\ndog\r\n")).tolist() == ["cat", "dog"]
        assert values(write("a.jsonl", '\ufeff"cat"\r\n"dog"\r\n')).tolist() == ["cat", "dog"]


class TestColumns:
    TABLE = "id,label,cat,dog\n7,cat,0.9,0.1\n8,dog,0.2,0.8\n"

    def test_one_by_name(self, write):
        assert values(write("a.csv", self.TABLE) + ":label").tolist() == ["cat", "dog"]

    def test_several_keep_their_names(self, write):
        read = read_columns(write("a.csv", self.TABLE) + ":dog, cat")
        assert read.names == ("dog", "cat")
        assert read.values.tolist() == [[0.1, 0.9], [0.8, 0.2]]

    def test_by_number_where_there_are_no_names(self, write):
        read = read_columns(write("a.csv", "5,6\n7,8\n") + ":2")
        assert read.values.tolist() == [6, 8]
        assert read.names is None

    def test_ids_are_no_values(self, write):
        read = read_columns(write("a.csv", "id,x\n3,0.5\n4,0.7\n"), id_column="id")
        assert read.values.tolist() == [0.5, 0.7]
        assert read.ids.tolist() == ["3", "4"]

    def test_tabs_part_the_cells_of_a_tsv(self, write):
        path = write("a.tsv", "name\tscore\nx, y\t1\nz\t2\n")
        assert values(f"{path}:name").tolist() == ["x, y", "z"]


class TestErrors:
    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            (
                "a.csv",
                "1\n2\nx\n3\n",
                r"a\.csv, line 3: .* only numbers or only texts; 'x' is no n",
            ),
            ("a.csv", "cat\ndog\ncat\n3\n", r"line 4: .*'3' is a number among texts.*--labels"),
            ("a.csv", "cat\nnan\ncat\n", "line 2: .*'nan' is a number among texts"),
            ("a.csv", '1\n"2\n"\n\n3\n', "line 4: a cell must not be empty"),
            ("a.csv", "1,2\n\n3,4\n", "line 2: a row must have 2 cells as the first; 1 came"),
            ("a.csv", "1,2\n3\n", "line 2: a row must have 2 cells as the first; 1 came"),
            ("a.csv", "a,b\n1,2\n,3\n", "line 3: a cell must not be empty"),
            ("a.csv", "1\nnan\n2\n", "line 2: a number must be finite; 'nan' came"),
            ("a.csv", "1\n2.5\n99999999999999999999\n", "line 3: .*64 bits; 99999999999999999999"),
            ("a.csv", "1;2\n3;4\n", "commas .* it has semicolons"),
            ("a.csv", "1\t2\n3\t4\n", "it has tabs"),
            ("a.csv", "", "at least one row; it is empty"),
            ("a.csv", '1\n"2', "must be CSV; below line 1: unexpected end of data"),
            ("a.csv", ",y\n0,1\n1,2\n", "column 1 has no name, as an index that pandas wrote"),
            ("a.csv", "a,b\nx,1\ny,2\n", "several columns together must be numbers.*'a', 'b'"),
            ("a.csv:c", "a,b\n1,2\n", "must be one of 'a', 'b'; 'c' came"),
            ("a.csv:a", "a,a\n1,2\n", "'a' is 2 of them"),
            ("a.parquet", "", "A file must be a .csv.*a.parquet' came"),
            ("a.jsonl", "", "at least one line; it is empty"),
            ("a.jsonl", "1\n{\n", "line 2: a line must be one JSON value"),
            ("a.jsonl", "1\n\nnull\n", "line 3: a value must be a number, a text or numbers; null"),
            ("a.jsonl", "1\nNaN\n", "line 2: .*nan came"),
            ("a.jsonl", f"1\n1{'0' * 400}\n", "line 2: .*; a whole number of more than 64 bits c"),
            ("a.jsonl:y", f'{{"y": -1{"0" * 20}}}\n', "line 1: .*; a whole number of more than 64"),
            ("a.jsonl", f"1\n[1{'0' * 400}]\n", r"line 2: .* numbers; \[1000"),
            ("a.jsonl", f"1\n1{'0' * 5000}\n", "line 2: a line must be one JSON value"),
            ("a.jsonl", f"1\n{'[' * 100_000}\n", "line 2: a line must be one JSON value"),
            ("a.jsonl", f"1\n{'[' * 800}{']' * 800}\n", r"line 2: .* numbers; \[\["),
            ("a.jsonl", '1\n"a"\n', "line 2: values must be alike; a text came, a number before"),
            ("a.jsonl", "[1]\n[1, 2]\n", "a list of 2 numbers came, a list of 1 numbers before"),
            ("a.jsonl:y", '{"x": 1}\n', r"line 1: a line must be an object with \['y'\]; it is"),
            ("a.jsonl", '{"x": 1}\n2\n', r"line 2: .*; it is 2"),
            ("a.jsonl", '{"x": [1], "y": 2}\n', "several columns together must be numbers"),
            ("a.npy", "1,2", "must be what numpy.save"),
            ("a.npz", "PK\x03\x04", "must be what numpy.save"),
        ],
    )
    def test_of_content_say_where_it_is(self, write, name, text, message):
        file, _, column = name.partition(":")
        source = write(file, text) + (":" + column if column else "")
        with pytest.raises(MetricInputError, match=message):
            read_columns(source)

    @pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt", "a.jsonl"])
    def test_another_encoding_is_no_utf_8(self, write, name):
        text = '"\ufeff"\n"Käse"\n'
        message = r"line 2: a file must be UTF-8; the byte 0xe4 came"
        with pytest.raises(MetricInputError, match=message):
            read_columns(write(name, text.replace("\ufeff", "x"), "latin-1"))
        with pytest.raises(MetricInputError, match="line 1: a file must be UTF-8; the byte 0xff"):
            read_columns(write(name, text, "utf-16"))
        path = Path(write(name, ""))
        path.write_bytes(b'\xef\xbb\xbf"x"\n"K\xe4se"\n')
        with pytest.raises(MetricInputError, match=message):
            read_columns(str(path))

    def test_a_missing_file_is_an_os_error(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            read_columns(str(tmp_path / "a.csv"))


class TestJsonLines:
    def test_bare_values(self, write):
        assert values(write("a.jsonl", '"1"\n"b"\n')).tolist() == ["1", "b"]
        assert values(write("b.jsonl", "[0.1, 0.9]\n[1, 0]\n")).tolist() == [[0.1, 0.9], [1, 0]]

    def test_fields(self, write):
        lines = [{"id": 4, "y": 1, "p": [0.5, 0.5]}, {"id": 3, "p": [1, 0], "y": 0, "more": None}]
        path = write("a.jsonl", "\n".join(map(json.dumps, lines)))
        assert values(f"{path}:y").tolist() == [1, 0]
        read = read_columns(f"{path}:p", id_column="id")
        assert read.values.tolist() == [[0.5, 0.5], [1, 0]]
        assert read.ids.tolist() == ["4", "3"]

    def test_the_only_field_needs_no_name(self, write):
        assert values(write("a.jsonl", '{"y": true}\n{"y": false}\n')).tolist() == [True, False]


class TestNumpyFiles:
    def test_npy(self, tmp_path):
        array = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
        np.save(tmp_path / "a.npy", array)
        assert np.array_equal(values(str(tmp_path / "a.npy")), array)

    def test_npz_by_name_and_with_ids(self, tmp_path):
        path = tmp_path / "a.npz"
        np.savez(path, y=[1, 2], p=[[0.1], [0.2]], id=[8, 9])
        assert values(f"{path}:y").tolist() == [1, 2]
        assert read_columns(f"{path}:y", id_column="id").ids.tolist() == ["8", "9"]
        with pytest.raises(MetricInputError, match="choose one array with :ARRAY, of 'y', 'p'"):
            read_columns(str(path), id_column="id")
        with pytest.raises(MetricInputError, match="one of 'y', 'p', 'id'; 'q' came"):
            read_columns(f"{path}:q")

    @pytest.mark.parametrize("array", [np.array(1.0), np.ones((2, 2, 2)), np.array([1j]), []])
    def test_what_is_no_column_is_an_error(self, tmp_path, array):
        np.save(tmp_path / "a.npy", array)
        with pytest.raises(MetricInputError, match="numbers or texts of shape"):
            read_columns(str(tmp_path / "a.npy"))

    def test_objects_are_not_unpickled(self, tmp_path):
        np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
        with pytest.raises(MetricInputError, match="without objects"):
            read_columns(str(tmp_path / "a.npy"))


class TestPaths:
    def test_a_colon_may_be_in_a_path(self, tmp_path):
        (tmp_path / "a:b").mkdir()
        for name in ("a:b/c.csv", "d:e.csv"):
            (tmp_path / name).write_text("1\n2\n")
            assert values(str(tmp_path / name)).tolist() == [1, 2]


class TestAlignment:
    def test_without_ids_rows_go_together(self):
        one, other = (Columns(name, np.array([1, 2])) for name in "ab")
        assert aligned(one, other) is other.values

    def test_lengths_must_agree(self):
        one, other = Columns("a", np.arange(2)), Columns("b", np.arange(3))
        with pytest.raises(MetricInputError, match="equally many rows; a has 2, b has 3"):
            aligned(one, other)

    @given(order=st.permutations(range(6)))
    def test_ids_bring_rows_together(self, order):
        ids = np.array(list("uvwxyz"))
        one = Columns("a", np.arange(6), ids=ids)
        other = Columns("b", np.array(order), ids=ids[order])
        assert aligned(one, other).tolist() == list(range(6))

    def test_ids_must_come_once_and_in_both(self):
        one = Columns("a", np.arange(3), ids=np.array(["u", "v", "w"]))
        twice = Columns("b", np.arange(3), ids=np.array(["u", "v", "u"]))
        with pytest.raises(MetricInputError, match="'u' comes in rows 1 and 3 of b"):
            aligned(one, twice)
        another = Columns("c", np.arange(3), ids=np.array(["u", "v", "x"]))
        with pytest.raises(MetricInputError, match="1 of a are not in c, such as 'w'"):
            aligned(one, another)
