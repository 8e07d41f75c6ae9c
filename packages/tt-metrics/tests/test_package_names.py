"""AIToolbox's names on result packages, and packages put together."""

import zipfile

import numpy as np
import pytest

from tt_metrics.api import (
    AbstractResultPackage,
    AccuracyMetric,
    ClassificationResultPackage,
    MetricInputError,
    MetricTypeError,
    MultipleResultPackageWrapper,
    NoDataError,
    PreCalculatedResultPackage,
    RegressionResultPackage,
)


class Texts(AbstractResultPackage):
    def prepare_results_dict(self):
        return {"Count": len(self.y_true)}

    def list_additional_results_dump_paths(self):
        self.experiment_dir_path.mkdir(parents=True, exist_ok=True)
        path = self.experiment_dir_path / "texts.txt"
        path.write_text("\n".join(map(str, self.y_predicted)))
        return [("texts.txt", str(path))]


class Odd(AbstractResultPackage):
    files: tuple = ()

    def prepare_results_dict(self):
        return {"a": 1}

    def list_additional_results_dump_paths(self):
        return list(self.files)


def evaluated(package, **kwargs):
    package.prepare_result_package([0, 1], [1, 1], **kwargs)
    return package


def test_a_package_takes_further_facts():
    package = Texts("Texts", False, True, language="de")
    assert package.package_metadata == {"language": "de"}
    assert ClassificationResultPackage(source="s").package_metadata == {"source": "s"}
    np.testing.assert_array_equal(package.auto_y_input_array_convert([1, 2]), np.array([1, 2]))
    assert Texts(np_array=False).auto_y_input_array_convert([1, 2]) == [1, 2]


def test_files_that_belong_to_results(tmp_path):
    package = evaluated(Texts("Texts"))
    package.set_experiment_dir_path_for_additional_results("project", "run", "2020", tmp_path)
    expected = [("texts.txt", str(tmp_path / "project" / "run_2020" / "texts.txt"))]
    assert package.get_additional_results_dump_paths() == expected
    assert package.additional_results_dump_paths == expected
    assert ClassificationResultPackage().get_additional_results_dump_paths() == []


@pytest.mark.parametrize(
    ("files", "message"),
    [(["only a name"], "a pair of name and path"), ([("a", "/no/such/file")], "should exist")],
)
def test_files_that_are_not_there(files, message):
    package = Odd()
    package.files = files
    with pytest.warns(UserWarning, match=message):
        assert package.get_additional_results_dump_paths() == files
    package.strict_content_check = True
    with pytest.raises(MetricInputError, match=message):
        package.get_additional_results_dump_paths()


def test_a_folder_is_packed_into_one_file(tmp_path):
    source = tmp_path / "texts"
    (source / "part").mkdir(parents=True)
    (source / "b.txt").write_text("b")
    (source / "part" / "a.txt").write_text("a")
    for name in ("texts.v1", "texts.v1.zip"):
        packed = Texts().zip_additional_results_dump(source, tmp_path / name)
        assert packed == str(tmp_path / "texts.v1.zip")
        with zipfile.ZipFile(packed) as archive:
            assert archive.namelist() == ["b.txt", "part/a.txt"]
            assert archive.read("part/a.txt") == b"a"


def test_what_cannot_be_packed(tmp_path):
    with pytest.raises(MetricInputError, match="must be a folder; there is none"):
        Texts().zip_additional_results_dump(tmp_path / "none", tmp_path / "out.zip")
    with pytest.raises(MetricInputError, match="must lie outside the folder"):
        Texts().zip_additional_results_dump(tmp_path, tmp_path / "out.zip")


def test_missing_results_are_reported():
    with pytest.warns(UserWarning, match="Results should be there by now; <Texts 't'> has none"):
        Texts("t").warn_if_results_dict_not_defined()
    with pytest.warns(UserWarning, match="Results should be there by now"):
        ClassificationResultPackage().warn_if_results_dict_not_defined()
    streamed = ClassificationResultPackage(strict_content_check=True)
    streamed.update([1], [1])
    streamed.warn_if_results_dict_not_defined()
    evaluated(Texts(strict_content_check=True)).warn_if_results_dict_not_defined()


def test_results_computed_elsewhere():
    results = {"BLEU": 27.3}
    package = PreCalculatedResultPackage(results, note="test set")
    assert package.pkg_name == "PreCalculatedResult"
    assert package.get_results() == results
    assert package.package_metadata == {"note": "test set"}
    package.prepare_result_package(["a"], ["b"], {"lr": 0.1})
    assert package.get_results() == results
    assert package.get_hyperparameters() == {"lr": 0.1}
    with pytest.warns(UserWarning, match="should have results"):
        PreCalculatedResultPackage({})
    with pytest.raises(MetricTypeError, match="dict of results"):
        PreCalculatedResultPackage([27.3])


def test_plus_puts_packages_side_by_side():
    first, second = evaluated(ClassificationResultPackage()), evaluated(RegressionResultPackage())
    both = first + second
    assert isinstance(both, MultipleResultPackageWrapper)
    assert both.get_results() == {
        "ClassificationResult": {"Accuracy": 0.5},
        "RegressionResult": {"Mean_squared_error": 0.5, "Mean_absolute_error": 0.5},
    }
    assert both.result_packages == [first, second]
    assert first.get_results() == {"Accuracy": 0.5}
    assert both.y_true == {"ClassificationResult": [0, 1], "RegressionResult": [0, 1]}


def test_plus_takes_dicts_and_metrics_on_either_side():
    package = evaluated(ClassificationResultPackage())
    own = {"ClassificationResult": {"Accuracy": 0.5}}
    assert (package + {"a": 1}).get_results() == own | {"PreCalculatedResult": {"a": 1}}
    swapped = ({"a": 1} + package).get_results()
    assert list(swapped) == ["PreCalculatedResult", "ClassificationResult"]
    metric = AccuracyMetric([1], [1])
    for both in (package + metric, metric + package):
        assert both.get_results() == own | {"PreCalculatedResult": {"Accuracy": 1.0}}
    assert package.add_merge_multi_pkg_wrap({"a": 1}).get_results() == (
        own | {"PreCalculatedResult": {"a": 1}}
    )


@pytest.mark.parametrize("other", [3, "text", None, [1]])
def test_what_cannot_be_added(other):
    package = evaluated(ClassificationResultPackage())
    with pytest.raises(TypeError):
        package + other
    with pytest.raises(TypeError):
        other + package
    with pytest.raises(TypeError):
        package += other
    with pytest.raises(MetricTypeError, match="a package, a metric, or a dict"):
        package.add_merge_multi_pkg_wrap(other)
    with pytest.raises(MetricTypeError, match="a package, a metric, or a dict"):
        package.add_merge_dicts(other)


def test_names_that_come_again_get_a_number_and_nothing_is_lost():
    packages = [PreCalculatedResultPackage({"a": i}, pkg_name="A") for i in range(3)]
    packages.insert(1, PreCalculatedResultPackage({"a": 9}, pkg_name="A_1"))
    wrapper = MultipleResultPackageWrapper()
    wrapper.prepare_result_package(packages)
    assert wrapper.get_results() == {
        "A": {"a": 0},
        "A_1": {"a": 9},
        "A_2": {"a": 1},
        "A_3": {"a": 2},
    }
    unnamed = evaluated(Texts())
    assert list((unnamed + unnamed).get_results()) == ["Texts", "Texts_1"]


def test_wrappers_join_flat():
    a, b, c, d = (PreCalculatedResultPackage({"x": i}, pkg_name=n) for i, n in enumerate("abcd"))
    ab, cd = a + b, c + d
    ab += {"loss": 0.5}
    assert ab.get_results() == {"a": {"x": 0}, "b": {"x": 1}, "loss": 0.5}
    joined = ab + cd
    assert list(joined.get_results()) == ["a", "b", "c", "d", "loss"]
    assert list(ab.get_results()) == ["a", "b", "loss"]
    assert list((c + ab).get_results()) == ["c", "a", "b", "loss"]


def test_the_wrapper_speaks_for_its_packages(tmp_path):
    first, second = evaluated(Texts("one")), evaluated(Texts("two"))
    second.requires_loss = True
    both = first + second
    assert both.requires_loss
    both.set_experiment_dir_path_for_additional_results("p", "e", "t", tmp_path)
    paths = [("texts.txt", str(tmp_path / "p" / "e_t" / "texts.txt"))] * 2
    assert both.get_additional_results_dump_paths() == paths
    assert both.experiment_dir_path == first.experiment_dir_path == tmp_path / "p" / "e_t"


def test_hyperparameters_of_packages_side_by_side():
    first = evaluated(Texts("one"), hyperparameters={"lr": 0.1, "seed": 1})
    second = evaluated(Texts("two"), hyperparameters={"lr": 0.1, "size": 2})
    assert (first + second).get_hyperparameters() == {"lr": 0.1, "seed": 1, "size": 2}
    third = evaluated(Texts("three"), hyperparameters={"lr": 0.2})
    with pytest.warns(UserWarning, match=r"lr is 0.1 and 0.2. Pass `hyperparameters`"):
        assert (first + third).get_hyperparameters() == {"lr": 0.1, "seed": 1}
    wrapper = MultipleResultPackageWrapper(strict_content_check=True)
    with pytest.raises(MetricInputError, match="should agree on hyperparameters"):
        wrapper.prepare_result_package([first, third])
    wrapper.prepare_result_package([first, third], {"lr": 0.3}, note="x")
    assert wrapper.get_hyperparameters() == {"lr": 0.3}
    assert wrapper.additional_results == {"note": "x"}
    with pytest.warns(UserWarning, match="a list came"):
        odd = evaluated(Texts("odd"), hyperparameters=[0.1])
    assert (odd + first).get_hyperparameters() == {"lr": 0.1, "seed": 1}


def test_a_wrapper_follows_its_packages():
    first, second = evaluated(ClassificationResultPackage()), evaluated(RegressionResultPackage())
    both = first + second
    both += {"loss": 0.5}
    first.prepare_result_package([0, 1], [0, 1])
    second.update([1], [0])
    results = both.get_results()
    assert results == {
        "ClassificationResult": {"Accuracy": 1.0},
        "RegressionResult": {"Mean_squared_error": 2 / 3, "Mean_absolute_error": 2 / 3},
        "loss": 0.5,
    }
    assert both.results_dict == results
    assert [row.value for row in both.report().rows] == [1.0, 2 / 3, 2 / 3, 0.5]


def test_what_a_wrapper_takes():
    wrapper = MultipleResultPackageWrapper()
    for wrong in (3, [{"a": 1}], [AccuracyMetric([1], [1])]):
        with pytest.raises(MetricTypeError, match="takes a list of result packages"):
            wrapper.prepare_result_package(wrong)
    with pytest.raises(MetricInputError, match="at least one package"):
        wrapper.prepare_result_package([])
    for asked in (wrapper.get_results, wrapper.report):
        with pytest.raises(NoDataError, match="Call prepare_result_package"):
            asked()
    with pytest.raises(NoDataError, match="no results yet"):
        wrapper.prepare_result_package([Texts("one")])
    with pytest.raises(NoDataError):
        evaluated(Texts("one")) + ClassificationResultPackage()


def test_plus_equals_takes_results_in():
    package = evaluated(Texts("Texts"))
    before = package.get_results()
    package += {"loss": 0.5}
    package += AccuracyMetric([1], [1])
    package += evaluated(RegressionResultPackage())
    assert package.get_results() == {
        "Count": 2,
        "loss": 0.5,
        "Accuracy": 1.0,
        "Mean_squared_error": 0.5,
        "Mean_absolute_error": 0.5,
    }
    assert package.results_dict == package.get_results()
    assert before == {"Count": 2}
    assert package.add_merge_dicts({"x": 1}) is package


def test_plus_equals_loses_nothing():
    package = evaluated(Texts("Texts"))
    with pytest.raises(MetricInputError, match=r"\['Count'\] came twice"):
        package += {"Count": 3}
    assert package.get_results() == {"Count": 2}
    with pytest.raises(NoDataError):
        Texts("empty").add_merge_dicts({"a": 1})
