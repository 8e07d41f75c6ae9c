"""The command ``tt-metrics``: files in, numbers out, as scikit-learn has them."""

import csv
import html.parser
import io
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from sklearn import metrics as oracle
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.linear_model import Ridge
from sklearn.naive_bayes import GaussianNB

from tt_metrics._command.main import main
from tt_metrics.api import AccuracyMetric, F1ScoreMetric, Report, compare


@pytest.fixture(scope="module")
def wines():
    x, y = load_wine(return_X_y=True)
    return y[::2], GaussianNB().fit(x[1::2, :2], y[1::2]).predict_proba(x[::2, :2])


@pytest.fixture(scope="module")
def tumours():
    x, y = load_breast_cancer(return_X_y=True)
    models = [GaussianNB().fit(x[300:, :width], y[300:]) for width in (5, 2)]
    return y[:300], *(m.predict_proba(x[:300, : m.n_features_in_])[:, 1] for m in models)


@pytest.fixture
def write(tmp_path):
    def write(name, *columns, header=None):
        path = tmp_path / name
        rows = zip(*(np.asarray(column).tolist() for column in columns), strict=True)
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([*([header] if header else []), *rows])
        return str(path)

    return write


@pytest.fixture
def score(capsys):
    def score(task, true, pred, *options):
        status = main(["score", "--task", task, "--true", true, "--pred", pred, *options])
        out, err = capsys.readouterr()
        assert status == 0, err
        return out, err

    return score


@pytest.fixture
def numbers(score):
    def numbers(*arguments):
        out, _ = score(*arguments, "--format", "json", "--resamples", "0")
        rows = json.loads(out)["sections"][0]["numbers"]
        return {row["name"]: row["value"] for row in rows}

    return numbers


@pytest.fixture
def fails(capsys):
    def fails(*arguments):
        assert main(["score", *arguments]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("tt-metrics: error: ")
        assert err.count("\n") == 1
        return err

    return fails


def near(value):
    return pytest.approx(value, rel=1e-12, abs=1e-12)


class TestClassification:
    def test_labels(self, numbers, write, wines):
        y, scores = wines
        p = scores.argmax(1)
        found = numbers("classification", write("y.csv", y), write("p.csv", p))
        assert found == near(
            {
                "Accuracy": oracle.accuracy_score(y, p),
                "Balanced_accuracy": oracle.balanced_accuracy_score(y, p),
                "Precision": oracle.precision_score(y, p, average="macro"),
                "Recall": oracle.recall_score(y, p, average="macro"),
                "F1_score": oracle.f1_score(y, p, average="macro"),
                "Cohen_kappa": oracle.cohen_kappa_score(y, p),
            }
        )

    def test_probabilities_have_a_log_loss_too(self, numbers, write, wines):
        y, scores = wines
        found = numbers("classification", write("y.csv", y), write("p.csv", *scores.T))
        assert found["Log_loss"] == near(oracle.log_loss(y, scores))
        assert found["Accuracy"] == oracle.accuracy_score(y, scores.argmax(1))

    def test_other_scores_have_none(self, numbers, write, wines):
        y, scores = wines
        for other in (np.log(scores), scores / 2):
            found = numbers("classification", write("y.csv", y), write("p.csv", *other.T))
            assert "Log_loss" not in found
            assert found["Accuracy"] == oracle.accuracy_score(y, scores.argmax(1))

    def test_rounded_probabilities_have_a_note(self, score, write, wines):
        y, scores = wines
        files = write("y.csv", y), write("p.csv", *scores.T.round(2))
        out, err = score("classification", *files, "--resamples", "0")
        assert "Log_loss" not in out
        assert "left out Log_loss: y_predicted must have rows that sum to 1" in err

    @pytest.mark.parametrize("names", [["red", "rosé", "white"], ["10", "20", "30"]])
    def test_columns_are_known_by_the_names_of_the_labels(self, numbers, write, wines, names):
        y, scores = wines
        true = write("y.csv", np.array(names)[y], header=["label"])
        order = [2, 0, 1]
        pred = write("p.csv", *scores.T[order], header=[names[place] for place in order])
        found = numbers("classification", true, pred, "--header")
        assert found["Accuracy"] == oracle.accuracy_score(y, scores.argmax(1))
        assert found["Log_loss"] == near(oracle.log_loss(y, scores))

    def test_labels_may_be_listed(self, numbers, write, wines):
        y, scores = wines
        true, pred = write("y.csv", np.array([1.5, 2, 3])[y]), write("p.csv", *scores.T)
        found = numbers("classification", true, pred, "--labels", "1.5,2,3")
        assert found["Accuracy"] == oracle.accuracy_score(y, scores.argmax(1))

    def test_names_that_are_no_labels_leave_the_order_of_columns(self, numbers, write, wines):
        y, scores = wines
        pred = write("p.csv", *scores.T, header=["p_2", "p_0", "p_1"])
        found = numbers("classification", write("y.csv", y), f"{pred}:p_2,p_0,p_1")
        assert found["Accuracy"] == oracle.accuracy_score(y, scores.argmax(1))

    def test_metrics_by_name_and_average(self, numbers, write, wines):
        y, scores = wines
        files = write("y.csv", y), write("p.csv", *scores.T)
        options = "--metrics", "roc_auc, Top_K_accuracy,f1_score", "--average", "weighted"
        assert numbers("classification", *files, *options, "--k", "2") == near(
            {
                "ROC_AUC": oracle.roc_auc_score(y, scores, multi_class="ovr", average="weighted"),
                "Top_2_accuracy": oracle.top_k_accuracy_score(y, scores, k=2),
                "F1_score": oracle.f1_score(y, scores.argmax(1), average="weighted"),
            }
        )

    def test_each_class(self, numbers, write, wines):
        y, scores = wines
        files = write("y.csv", y), write("p.csv", *scores.T)
        found = numbers("classification", *files, "--metrics", "recall", "--average", "none")
        expected = oracle.recall_score(y, scores.argmax(1), average=None)
        assert found == near({f"Recall_{label}": value for label, value in enumerate(expected)})


class TestBinary:
    def test_probabilities(self, numbers, write, tumours):
        y, s, _ = tumours
        files = write("y.csv", y), write("p.csv", s)
        p = s >= 0.3
        assert numbers("binary", *files, "--threshold", "0.3") == near(
            {
                "Accuracy": oracle.accuracy_score(y, p),
                "Balanced_accuracy": oracle.balanced_accuracy_score(y, p),
                "Precision": oracle.precision_score(y, p),
                "Recall": oracle.recall_score(y, p),
                "F1_score": oracle.f1_score(y, p),
                "Specificity": oracle.recall_score(y, p, pos_label=0),
                "ROC_AUC": oracle.roc_auc_score(y, s),
                "Average_precision": oracle.average_precision_score(y, s),
                "Log_loss": oracle.log_loss(y, s),
                "Brier_score": oracle.brier_score_loss(y, s),
            }
        )

    def test_scores_can_only_be_ranked(self, numbers, write, tumours):
        y, s, _ = tumours
        found = numbers("binary", write("y.csv", y), write("p.csv", 100 * s - 50))
        assert list(found) == ["ROC_AUC", "Average_precision", "Equal_error_rate"]
        assert found["ROC_AUC"] == near(oracle.roc_auc_score(y, s))

    @pytest.mark.parametrize("names", [["benign", "malignant"], [1, 2], [1.5, 2.5]])
    def test_the_positive_label_is_named(self, numbers, write, tumours, names):
        y, s, _ = tumours
        p = (s >= 0.5).astype(int)
        true = write("y.csv", np.array(names)[y], header=["truth"])
        positive = "--positive", str(names[1])
        labels = write("p.csv", np.array(names)[p], header=["predicted"])
        found = numbers("binary", f"{true}:truth", f"{labels}:predicted", *positive)
        assert found["Precision"] == oracle.precision_score(y, p)
        assert "ROC_AUC" not in found
        found = numbers("binary", f"{true}:truth", write("s.csv", s), *positive)
        assert found["ROC_AUC"] == near(oracle.roc_auc_score(y, s))

    @pytest.mark.parametrize(
        ("true", "pred", "options", "message"),
        [
            (
                [1, 2, 2],
                [1, 2, 3],
                ["--positive", "2"],
                "one of 1, 2; 3 came. Name all in --labels",
            ),
            ([0, 1, 1], [-1, 1, 1], [], "one of 0, 1; -1 came"),
            ([0, 1, 1], ["a", "b", "b"], [], "one of 0, 1; 'a' came"),
            (["a", "b"], ["a", "c"], ["--positive", "b"], "one of 'a', 'b'; 'c' came"),
            ([0, 1], [0, 1], ["--labels", "5,6"], "all labels of .*y.csv; 0 is not in it"),
            (["a", "b"], ["a", "b"], ["--labels", "a,x", "--positive", "a"], "'b' is not in it"),
            ([1, 2], [1, 2], ["--positive", "b"], "--positive must be numbers as the targets are"),
        ],
    )
    def test_unknown_labels_are_no_scores(self, fails, write, true, pred, options, message):
        files = "--true", write("y.csv", true), "--pred", write("p.csv", pred)
        options = [*options, "--no-header"]
        assert re.search(message, fails("--task", "binary", *files, *options))

    def test_labels_that_targets_lack_are_listed(self, numbers, write):
        files = write("y.csv", [1, 2, 2, 1]), write("p.csv", [1, 2, 3, 2])
        found = numbers("binary", *files, "--positive", "2", "--labels", "1,2,3")
        assert found["Precision"] == found["Recall"] == found["Accuracy"] == 0.5

    def test_one_label_against_all_others(self, numbers, write, wines):
        y, scores = wines
        files = write("y.csv", y), write("p.csv", scores.argmax(1))
        found = numbers("binary", *files, "--positive", "2")
        assert found["Recall"] == oracle.recall_score(y == 2, scores.argmax(1) == 2)

    def test_what_cannot_be_computed_is_left_out_with_a_reason(self, score, write):
        out, err = score("binary", write("y.csv", [1, 1, 1]), write("p.csv", [0.5, 0.7, 0.2]))
        assert "ROC_AUC" not in out.split()
        assert "Recall" in out.split()
        assert "tt-metrics: left out ROC_AUC: " in err

    def test_unless_it_was_asked_for(self, fails, write):
        files = "--true", write("y.csv", [1, 1, 1]), "--pred", write("p.csv", [0.5, 0.7, 0.2])
        assert "ROC_AUC" in fails("--task", "binary", *files, "--metrics", "roc_auc,recall")


class TestOtherTasks:
    def test_several_labels_per_item(self, numbers, write):
        draw = np.random.default_rng(0)
        y, s = draw.integers(0, 2, (40, 3)), draw.random((40, 3))
        true = write("y.csv", *y.T, header=["a", "b", "c"])
        pred = write("p.csv", *s.T[[2, 0, 1]], header=["c", "a", "b"])
        p = s >= 0.5
        assert numbers("multilabel", true, pred) == near(
            {
                "Accuracy": oracle.accuracy_score(y, p),
                "Hamming_loss": oracle.hamming_loss(y, p),
                "Precision": oracle.precision_score(y, p, average="macro"),
                "Recall": oracle.recall_score(y, p, average="macro"),
                "F1_score": oracle.f1_score(y, p, average="macro"),
                "Jaccard": oracle.jaccard_score(y, p, average="macro"),
                "ROC_AUC": oracle.roc_auc_score(y, s),
                "Average_precision": oracle.average_precision_score(y, s),
            }
        )

    def test_unnamed_columns_and_scores(self, numbers, write):
        draw = np.random.default_rng(0)
        y, s = draw.integers(0, 2, (40, 3)), draw.normal(size=(40, 3))
        found = numbers("multilabel", write("y.csv", *y.T), write("p.csv", *s.T))
        assert found["ROC_AUC"] == near(oracle.roc_auc_score(y, s))
        assert "Precision" not in found

    def test_regression(self, numbers, write):
        x, y = load_diabetes(return_X_y=True)
        p = Ridge().fit(x[::2], y[::2]).predict(x)
        assert numbers("regression", write("y.csv", y), write("p.csv", p)) == near(
            {
                "Mean_squared_error": oracle.mean_squared_error(y, p),
                "Root_mean_squared_error": oracle.root_mean_squared_error(y, p),
                "Mean_absolute_error": oracle.mean_absolute_error(y, p),
                "R2_score": oracle.r2_score(y, p),
                "Explained_variance": oracle.explained_variance_score(y, p),
            }
        )

    def test_retrieval_of_lists(self, numbers, tmp_path):
        draw = np.random.default_rng(0)
        y, s = draw.integers(0, 3, (9, 5)), draw.random((9, 5))
        path = tmp_path / "a.jsonl"
        rows = zip(y.tolist(), s.tolist(), strict=True)
        path.write_text("\n".join(json.dumps({"y": one, "s": two}) for one, two in rows))
        found = numbers("retrieval", f"{path}:y", f"{path}:s", "--metrics", "ndcg", "--k", "3")
        assert found == near({"NDCG_3": oracle.ndcg_score(y, s, k=3)})


class TestColumnsThatNobodyChose:
    @pytest.mark.parametrize(
        ("task", "true", "pred", "message"),
        [
            ("regression", "id,y\n7,0.5\n8,1\n", "id,y\n7,1\n8,1\n", "it has 'id', 'y'. Choose"),
            ("regression", "0.5\n1\n", "1,0.5\n2,0.7\n", "it has '1', '2'. Choose with :COLUMN"),
            ("retrieval", "id,y\n7,0.5\n8,1\n", "id,y\n7,1\n8,1\n", "it has 'id', 'y'. Choose"),
            ("classification", "0\n1\n", "id,score\n7,0.5\n8,0.7\n", "called as the labels are"),
            ("classification", "a\nb\na\n", "id,a,b\n0,1,0\n1,0,1\n2,1,0\n", "'id', 'a', 'b'"),
            ("classification", "1.5\n2\n", "id,score\n7,0.5\n8,0.7\n", "called as the labels are"),
            ("binary", "0\n1\n", "id,score\n7,0.5\n8,0.7\n", "must be one column"),
        ],
    )
    def test_are_an_error(self, fails, tmp_path, task, true, pred, message):
        for name, text in (("y.csv", true), ("p.csv", pred)):
            (tmp_path / name).write_text(text)
        files = "--true", str(tmp_path / "y.csv"), "--pred", str(tmp_path / "p.csv")
        assert message in fails("--task", task, *files)

    def test_fields_of_json_lines_too(self, fails, tmp_path):
        path = tmp_path / "a.jsonl"
        path.write_text('{"id": 1, "y": 2}\n{"id": 2, "y": 4}\n')
        files = "--true", str(path), "--pred", str(path)
        assert "it has 'id', 'y'" in fails("--task", "regression", *files)

    def test_chosen_ones_and_arrays_are_taken(self, numbers, write, tmp_path):
        draw = np.random.default_rng(0)
        y, p = draw.normal(size=(2, 20, 2))
        np.save(tmp_path / "p.npy", p)
        true = write("y.csv", range(20), *y.T, header=["id", "a", "b"]) + ":a,b"
        unnamed = write("p.csv", *p.T) + ":1,2"
        for pred in (str(tmp_path / "p.npy"), unnamed):
            found = numbers("regression", true, pred, "--metrics", "mean_squared_error")
            assert found == near({"Mean_squared_error": oracle.mean_squared_error(y, p)})

    def test_a_column_may_be_of_a_class_that_no_target_has(self, numbers, write, wines):
        y, scores = wines
        y, scores = y[y < 2], scores[y < 2]
        pred = write("p.csv", *scores.T, header=["0", "1", "2"])
        found = numbers("classification", write("y.csv", y, header=["label"]), pred, "--header")
        assert found["Accuracy"] == oracle.accuracy_score(y, scores.argmax(1))
        true = write("z.csv", np.array(["a", "b", "c"])[y])
        pred = write("p.csv", *scores.T, header=["a", "b", "c"])
        found = numbers("classification", true, pred, "--labels", "a,b,c")
        assert found["Accuracy"] == oracle.accuracy_score(y, scores.argmax(1))


class TestIds:
    def test_bring_rows_together(self, numbers, write):
        true = write("y.csv", ["u", "v", "w"], [0, 1, 2], header=["id", "y"])
        pred = write("p.csv", ["w", "u", "v"], [2, 0, 0], header=["id", "y"])
        found = numbers("classification", true, pred, "--id", "id", "--metrics", "accuracy")
        assert found == near({"Accuracy": 2 / 3})


class TestComparison:
    def test_two_systems(self, score, write, tumours):
        y, one, two = tumours
        files = write("y.csv", y), write("one.csv", one), "--compare", write("two.csv", two)
        options = "--resamples", "200", "--seed", "3", "--confidence", "0.9"
        metrics = "--metrics", "accuracy,f1_score", "--average", "macro"
        out, err = score("binary", *files, *options, *metrics, "--format", "json")
        assert err == ""
        content = json.loads(out)
        assert [system["title"].split("/")[-1] for system in content["systems"]] == ["y.csv"] * 2
        kinds = AccuracyMetric, lambda *data: F1ScoreMetric(*data, average="macro")
        for made, found in zip(kinds, content["comparisons"], strict=True):
            outcome = compare(made(y, one), made(y, two), n_resamples=200, seed=3, confidence=0.9)
            assert found["difference"] == outcome.difference
            assert found["p_value"] == outcome.p_value
            assert [found["low"], found["high"]] == [*outcome.interval]
            assert found["test"] == "randomization"

    def test_takes_the_test_that_fits(self, score, write, tumours):
        y, one, two = tumours
        files = write("y.csv", y), write("one.csv", one), "--compare", write("two.csv", two)
        for options in ([], ["--test", "auto"]):
            options = [*options, "--metrics", "roc_auc,accuracy", "--resamples", "50"]
            out, _ = score("binary", *files, *options, "--format", "csv")
            rows = csv.DictReader(io.StringIO(out))
            assert [row["test"] for row in rows] == ["delong", "randomization"]

    def test_without_drawn_intervals_draws_as_compare_does(self, score, write, tumours):
        y, one, two = tumours
        files = write("y.csv", y), write("one.csv", one), "--compare", write("two.csv", two)
        options = "--metrics", "f1_score", "--resamples", "0", "--format", "json"
        content = json.loads(score("binary", *files, *options)[0])
        (row,) = content["systems"][0]["sections"][0]["numbers"]
        assert row["low"] is None
        outcome = compare(F1ScoreMetric(y, one), F1ScoreMetric(y, two))
        assert content["comparisons"][0]["signature"] == outcome.signature
        assert content["comparisons"][0]["p_value"] == outcome.p_value

    @pytest.mark.parametrize("form", ["text", "markdown", "html"])
    def test_stands_side_by_side(self, score, write, tumours, form):
        y, one, two = tumours
        files = write("y.csv", y), write("one.csv", one), "--compare", write("two.csv", two)
        out, _ = score("binary", *files, "--metrics", "accuracy", "--format", form)
        outcome = compare(AccuracyMetric(y, one), AccuracyMetric(y, two), n_resamples=1000)
        shown = [f"{outcome.first:.4f}", f"{outcome.second:.4f}", f"{outcome.difference:.4f}"]
        text = " ".join(re.sub(r"<[^>]*>|\|", " ", out).split())
        assert " ".join(["Accuracy", *shown]) in text

    def test_what_the_test_is_not_for_is_left_out(self, score, write, tumours):
        y, one, two = tumours
        files = write("y.csv", y), write("one.csv", one), "--compare", write("two.csv", two)
        out, err = score("binary", *files, "--test", "delong", "--format", "csv")
        assert [row["name"] for row in csv.DictReader(io.StringIO(out))] == ["ROC_AUC"]
        assert "tt-metrics: did not compare Accuracy: " in err

    def test_unless_it_was_asked_for(self, fails, write, tumours):
        y, one, two = tumours
        files = ["--true", write("y.csv", y), "--pred", write("one.csv", one)]
        files += ["--compare", write("two.csv", two), "--task", "binary"]
        assert "delong" in fails(*files, "--test", "delong", "--metrics", "roc_auc,accuracy")

    def test_columns_of_the_other_system_may_have_another_order(self, score, write, wines):
        y, scores = wines
        true = write("y.csv", y, header=["label"])
        one = write("one.csv", *scores.T, header=["0", "1", "2"])
        two = write("two.csv", *scores.T[::-1], header=["2", "1", "0"])
        options = "--header", "--resamples", "100", "--format", "csv"
        out, _ = score("classification", true, one, "--compare", two, *options)
        rows = [*csv.DictReader(io.StringIO(out))]
        assert {float(row["difference"]) for row in rows} == {0}
        assert float(rows[0]["first"]) == oracle.accuracy_score(y, scores.argmax(1))


class TestFormats:
    @pytest.fixture
    def files(self, write, wines):
        y, scores = wines
        return write("y.csv", y), write("p.csv", *scores.T)

    @pytest.fixture
    def report(self, wines, files):
        title = f"{files[1]} against {files[0]}"
        return Report(AccuracyMetric(*wines), title=title)

    def formatted(self, score, files, form):
        return score("classification", *files, "--metrics", "accuracy", "--format", form)[0]

    def test_text_markdown_and_html_are_the_report(self, score, files, report):
        assert self.formatted(score, files, "text") == f"{report}\n"
        assert self.formatted(score, files, "markdown") == report.to_markdown()
        assert self.formatted(score, files, "html") == report.to_html()

    def test_json_can_be_read_back(self, score, files, report):
        again = Report.from_json(self.formatted(score, files, "json"))
        assert again.to_dict() == report.to_dict()

    def test_csv_has_a_row_per_number(self, score, files, report):
        (row,) = csv.DictReader(io.StringIO(self.formatted(score, files, "csv")))
        assert row["name"] == "Accuracy"
        assert float(row["value"]) == report.rows[0].value
        assert float(row["low"]) == report.rows[0].low

    def test_html_is_well_formed(self, score, files, write, wines):
        open_tags = []

        class Reader(html.parser.HTMLParser):
            def handle_starttag(self, tag, attrs):
                if tag != "meta":
                    open_tags.append(tag)

            def handle_endtag(self, tag):
                assert open_tags.pop() == tag

        other = "--compare", write("q<i>.csv", *wines[1].T)
        out, _ = score("classification", *files, *other, "--resamples", "50", "--format", "html")
        Reader().feed(out)
        assert open_tags == []
        assert out.count("<html") == out.count("</html>") == 1
        assert "<i>" not in out

    def test_a_file_takes_the_output(self, score, files, tmp_path, report):
        path = tmp_path / "out.md"
        options = "--metrics", "accuracy", "--format", "markdown", "--output", str(path)
        assert score("classification", *files, *options) == ("", "")
        assert path.read_text() == report.to_markdown()

    def test_a_file_that_was_there_is_replaced_behind_its_link(self, score, files, tmp_path):
        (tmp_path / "out.txt").write_text("old")
        (tmp_path / "out.txt").chmod(0o640)
        (tmp_path / "link.txt").symlink_to("out.txt")
        before = {path.name for path in tmp_path.iterdir()}
        options = "--metrics", "accuracy", "--output", str(tmp_path / "link.txt")
        score("classification", *files, *options)
        assert "Accuracy" in (tmp_path / "out.txt").read_text()
        assert (tmp_path / "out.txt").stat().st_mode & 0o777 == 0o640
        assert (tmp_path / "link.txt").is_symlink()
        assert {path.name for path in tmp_path.iterdir()} == before

    def test_a_failed_write_leaves_what_was_there(self, fails, files, tmp_path, monkeypatch):
        def full(self, *arguments, **settings):
            self.write_bytes(b"half")
            raise OSError(28, "No space left on device", str(self))

        (tmp_path / "out.txt").write_text("old")
        before = {path.name for path in tmp_path.iterdir()}
        monkeypatch.setattr("pathlib.Path.write_text", full)
        arguments = "--true", files[0], "--pred", files[1], "--output", str(tmp_path / "out.txt")
        message = fails("--task", "classification", *arguments, "--metrics", "accuracy")
        assert message.endswith("out.txt: No space left on device\n")
        assert (tmp_path / "out.txt").read_text() == "old"
        assert {path.name for path in tmp_path.iterdir()} == before

    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_an_input_is_never_overwritten(self, fails, write, tmp_path, place):
        inputs = [write(name, [0, 1, 1]) for name in ("y.csv", "p.csv", "q.csv")]
        (tmp_path / "link").symlink_to(inputs[place])
        true, pred, other = (f"{path}:1" for path in inputs)
        files = "--true", true, "--pred", pred, "--compare", other
        for output in (inputs[place], str(tmp_path / "link")):
            message = fails("--task", "regression", *files, "--output", output)
            assert "--output must not be a file that is read" in message
        assert (tmp_path / inputs[place]).read_text() == "0\n1\n1\n"

    def test_a_device_is_written_to(self, score, files):
        assert score("classification", *files, "--output", "/dev/null") == ("", "")

    def test_intervals_are_as_they_were_asked_for(self, score, files, wines):
        options = "--metrics", "f1_score", "--resamples", "100", "--seed", "5"
        out, _ = score(
            "classification", *files, *options, "--confidence", "0.8", "--format", "json"
        )
        (row,) = json.loads(out)["sections"][0]["numbers"]
        interval = F1ScoreMetric(*wines, average="macro").ci(0.8, n_resamples=100, seed=5)
        assert [row["low"], row["high"]] == [*interval]


class TestErrors:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--metrics", "acuracy"], "A metric must be one of Accuracy, .*; 'acuracy' came"),
            (["--metrics", "accuracy,"], "A metric must be one of .*; '' came"),
            (["--confidence", "95"], "confidence must be between 0 and 1"),
            (["--labels", "a,b"], "--labels must be numbers as the targets are; a came"),
            (["--labels", "0,1"], "must be one of the labels"),
            (["--output", "no/such/folder/file"], "no/such/folder/file: No such file"),
        ],
    )
    def test_of_options(self, fails, write, options, message):
        files = "--true", write("y.csv", [0, 1, 2]), "--pred", write("p.csv", [0, 1, 1])
        assert re.search(message, fails("--task", "classification", *files, *options))

    @pytest.mark.parametrize(
        ("task", "option", "message"),
        [
            ("regression", ["--positive", "q"], "--positive is for binary; the task is regression"),
            ("regression", ["--threshold", "0.3"], "--threshold is for binary, multilabel; the"),
            ("regression", ["--average", "macro"], "--average is for classification, binary, mu"),
            ("regression", ["--labels", "a"], "--labels is for classification, binary, mult"),
            ("regression", ["--k", "3"], "--k is for classification, retrieval; the task is reg"),
            ("classification", ["--positive", "1"], "--positive is for binary; the task is clas"),
            ("classification", ["--threshold", "0.3"], "--threshold is for binary, multilabel;"),
            ("binary", ["--k", "3"], "--k is for classification, retrieval; the task is binary"),
            ("retrieval", ["--average", "micro"], "the task is retrieval"),
            ("binary", ["--threshold", "2"], "A threshold must be above 0 and at most 1"),
            ("classification", ["--k", "2"], "--k must be for one of the metrics; Accuracy, .*"),
            ("binary", ["--test", "auto"], "--test is for two systems; auto came without --comp"),
        ],
    )
    def test_of_options_that_would_be_ignored(self, fails, write, task, option, message):
        files = "--true", write("y.csv", [0, 1, 1]), "--pred", write("p.csv", [0, 1, 1])
        assert re.search(message, fails("--task", task, *files, *option))

    def test_of_a_threshold_for_scores(self, fails, write):
        files = "--true", write("y.csv", [0, 1, 1]), "--pred", write("p.csv", [0.5, 1.5, 2])
        message = fails("--task", "binary", *files, "--threshold", "0.7")
        assert "--threshold must be for one of the metrics; ROC_AUC" in message

    @pytest.mark.parametrize("option", [["--resamples", "-5"], ["--seed", "-3"], ["--seed", "1.5"]])
    def test_of_counts(self, write, capsys, option):
        path = write("y.csv", [0, 1])
        with pytest.raises(SystemExit, match="2"):
            main(["score", "--task", "binary", "--true", path, "--pred", path, *option])
        expected = f"argument {option[0]}: must be a whole number from 0 up; '{option[1]}' came"
        assert expected in capsys.readouterr().err

    def test_a_missing_file(self, fails, write, tmp_path):
        files = "--true", write("y.csv", [0, 1]), "--pred", str(tmp_path / "p.csv")
        assert fails("--task", "binary", *files).endswith("p.csv: No such file or directory\n")

    @pytest.mark.parametrize(
        ("task", "true", "pred", "message"),
        [
            ("classification", "0\n1\n", "0\n", "y.csv has 2, .*p.csv has 1"),
            ("classification", "0,1\n1,0\n", "0\n1\n", "y.csv must be one column of labels"),
            ("classification", "0\nx\n1\n1\n", "0\n1\n1\n1\n", "y.csv, line 2: "),
            ("classification", "a\na\n", "0.1,0.9\n0.2,0.8\n", "labels"),
            ("binary", "0\n1\n", "0,1\n1,0\n", "p.csv must be one column, of labels or of scores"),
            ("binary", "1\n2\n", "1\n2\n", "y.csv must hold 0 and 1, or --positive .* holds 1, 2"),
            ("regression", "a\na\n", "1\n2\n", "must be real numbers"),
            ("multilabel", "0\n1\n", "0\n1\n", r"shapes are \(2,\) and \(2,\)"),
        ],
    )
    def test_of_files(self, fails, tmp_path, task, true, pred, message):
        for name, text in (("y.csv", true), ("p.csv", pred)):
            (tmp_path / name).write_text(text)
        files = "--true", str(tmp_path / "y.csv"), "--pred", str(tmp_path / "p.csv")
        assert re.search(message, fails("--task", task, *files))

    def test_a_positive_label_that_is_not_there(self, fails, write):
        files = "--true", write("y.csv", ["a", "b", "a"]), "--pred", write("p.csv", [0.1, 0.2, 0.3])
        message = fails("--task", "binary", *files, "--positive", "c")
        assert "--positive must be a label of" in message
        assert "'a', 'b'; 'c' came" in message

    @pytest.mark.parametrize("arguments", [[], ["score"], ["score", "--task", "tea"], ["steep"]])
    def test_a_wrong_command_line_exits_with_2(self, arguments, capsys):
        with pytest.raises(SystemExit, match="2"):
            main(arguments)
        assert "usage: tt-metrics" in capsys.readouterr().err


def test_help_names_every_kind_of_file(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["score", "--help"])
    out = capsys.readouterr().out
    assert all(f".{kind}" in out for kind in ("csv", "tsv", "txt", "jsonl", "npy", "npz"))


def test_it_runs_as_a_module_and_loads_nothing_but_numpy(tmp_path):
    (tmp_path / "a.csv").write_text("y,p\n0,0\n1,1\n1,0\n0,0\n")
    code = (
        "import runpy, sys\n"
        "sys.argv[1:] = 'score --task binary --true a.csv:y --pred a.csv:p --format csv'.split()\n"
        "try: runpy.run_module('tt_metrics', run_name='__main__')\n"
        "finally: print({'sklearn', 'scipy', 'pandas', 'torch', 'matplotlib'} & {*sys.modules})\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    *lines, heavy = done.stdout.splitlines()
    assert heavy == "set()"
    rows = {row["name"]: row["value"] for row in csv.DictReader(lines)}
    assert float(rows["Accuracy"]) == 0.75


def test_a_failure_is_the_exit_status_of_the_process():
    command = [sys.executable, "-m", "tt_metrics", "score", "--task", "binary", "--true", "no.csv"]
    done = subprocess.run([*command, "--pred", "no.csv"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "tt-metrics: error: no.csv: No such file or directory\n"
