"""`plots`: every figure has the axes that it should, every table cell the digits."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from aecore import plots, runs
from aecore.models import LinearAutoencoder
from aecore.training import History, Plan


@pytest.fixture
def model():
    return LinearAutoencoder((1, 4, 4), 3)


@pytest.fixture
def run(model):
    return runs.Run(
        name="00-a", fingerprint="f" * 64, model=model, plan=Plan(), objective="mse",
        history=History({"loss": [0.5, 0.25]}, {"loss": [0.4, 0.2]}, [1.0, 1.0]), data={}, date="2026-11-22",
        seconds=1.0, machine="CPU", versions={},
    )  # fmt: skip


def drawn(figure):
    """Axes that hold an image."""
    return [axis for axis in figure.axes if axis.images]


class TestShow:
    @pytest.mark.parametrize("channels", [1, 3])
    def test_draws_each_image_once(self, channels):
        assert len(drawn(plots.show(torch.rand(7, channels, 4, 4)))) == 7

    def test_fills_rows_of_so_many_columns(self):
        assert len(plots.show(torch.rand(7, 1, 4, 4), columns=3).axes) == 9

    def test_writes_the_titles(self):
        figure = plots.show(torch.rand(2, 1, 4, 4), ["one", "two"])
        assert [axis.get_title() for axis in figure.axes] == ["one", "two"]

    def test_draws_values_beyond_the_range_at_its_end(self):
        pixels = plots.show(torch.tensor([-1.0, 0, 0.5, 2]).reshape(1, 1, 2, 2)).axes[0].images[0].get_array()
        assert pixels.tolist() == [[0, 0], [0.5, 1]]

    def test_grey_is_the_same_in_every_image(self):
        axis = plots.show(torch.full((1, 1, 4, 4), 0.5)).axes[0]
        assert axis.images[0].get_clim() == (0, 1)

    def test_refuses_another_number_of_titles(self):
        with pytest.raises(ValueError, match="titles: wanted 2, one for each image, got 1"):
            plots.show(torch.rand(2, 1, 4, 4), ["one"])

    @pytest.mark.parametrize("shape", [(0, 1, 4, 4), (4, 4), (1, 4, 4), (2, 2, 4, 4), (2, 4, 4, 3)])
    def test_refuses_what_is_no_batch_of_images(self, shape):
        words = r"images: wanted one or more, shape \(N, C, H, W\), of 1 or 3 channels, got"
        with pytest.raises(ValueError, match=words):
            plots.show(torch.rand(*shape))

    def test_takes_images_as_they_are_loaded(self, noise):
        images = noise(2, 1, 4, 4)
        pixels = plots.show(images).axes[1].images[0].get_array()
        assert pixels.tolist() == images.floats()[1, 0].tolist()

    def test_refuses_bytes_that_would_all_be_white(self, noise):
        with pytest.raises(ValueError, match="images: wanted floats in .*, got torch.uint8; for bytes divide by 255"):
            plots.show(noise(2, 1, 4, 4).pixels)

    @pytest.mark.parametrize("what", [np.zeros((2, 1, 4, 4)), [torch.zeros(1, 4, 4)], None], ids=type)
    def test_refuses_what_is_no_tensor(self, what):
        with pytest.raises(TypeError, match=r"images: wanted Images or a tensor \(N, C, H, W\), got "):
            plots.show(what)

    @pytest.mark.parametrize("titles", ["ab", 5, None])
    def test_refuses_titles_that_are_no_list(self, titles):
        with pytest.raises(ValueError, match=f"titles: wanted 2, one for each image, got {titles!r}"):
            plots.show(torch.rand(2, 1, 4, 4), titles)

    @pytest.mark.parametrize("size", [0, -1.0])
    def test_refuses_a_size_that_is_none(self, size):
        with pytest.raises(ValueError, match=f"size: wanted the width of an image in inches, such as 0.9, got {size}"):
            plots.show(torch.rand(2, 1, 4, 4), size=size)

    @pytest.mark.parametrize("columns", [0, -1, 2.5, None])
    def test_refuses_a_number_of_columns_that_is_none(self, columns):
        with pytest.raises(ValueError, match=f"columns: wanted a whole number from 1, got {columns}"):
            plots.show(torch.rand(2, 1, 4, 4), columns=columns)

    def test_takes_images_that_have_a_gradient(self):
        assert isinstance(plots.show(torch.rand(2, 1, 4, 4, requires_grad=True)), Figure)


class TestReconstructions:
    def test_has_a_row_of_originals_and_one_for_the_model(self, model, noise):
        assert len(drawn(plots.reconstructions(model, noise(9, 1, 4, 4), count=5))) == 2 * 5

    def test_has_a_row_for_each_model(self, model, run, noise):
        assert len(drawn(plots.reconstructions({"a": model, "b": run}, noise(9, 1, 4, 4), count=5))) == 3 * 5

    def test_names_its_rows(self, model, noise):
        figure = plots.reconstructions({"mine": model}, noise(9, 1, 4, 4), count=5)
        assert [axis.get_ylabel() for axis in figure.axes if axis.get_ylabel()] == ["original", "mine"]

    def test_draws_fewer_where_there_are_fewer(self, model, noise):
        assert len(drawn(plots.reconstructions(model, noise(3, 1, 4, 4)))) == 2 * 3

    def test_draws_what_the_model_makes(self, noise):
        figure = plots.reconstructions(lambda x: 1 - x, noise(1, 1, 4, 4))
        original, negative = (axis.images[0].get_array() for axis in figure.axes)
        assert np.allclose(original + negative, 1)  # float32

    def test_a_model_reconstructs_in_evaluation_mode(self):
        x = torch.rand(2, 1, 4, 4)
        assert torch.equal(plots.reconstruct(nn.Dropout(0.5).train(), x), x)

    def test_a_model_is_left_in_its_mode(self, model):
        plots.reconstruct(model.train(), torch.rand(2, 1, 4, 4))
        assert model.training


    def test_refuses_a_list_of_models_with_the_way_out(self, model, noise):
        with pytest.raises(TypeError, match=r"models: wanted a model or a run, or several by their name, .* got list"):
            plots.reconstructions([model], noise(3, 1, 4, 4))

    def test_refuses_three_parts_with_the_way_out(self, model, splits):
        with pytest.raises(TypeError, match="images: wanted Images, got Splits; choose a part of it, such as .test"):
            plots.reconstructions(model, splits)

    @pytest.mark.parametrize("what", [None, "linear", {"mine": 3}, {}], ids=repr)
    def test_refuses_what_is_no_model(self, what, noise):
        with pytest.raises(TypeError, match="models?: wanted a model"):
            plots.reconstructions(what, noise(3, 1, 4, 4))

    @pytest.mark.parametrize("count", [0, -1, 2.5])
    def test_refuses_a_count_that_is_none(self, count, model, noise):
        with pytest.raises(ValueError, match=f"count: wanted a whole number from 1, got {count}"):
            plots.reconstructions(model, noise(3, 1, 4, 4), count=count)


class TestCurves:
    def test_takes_one_run_by_its_name(self, run):
        axis = plots.curves(run).axes[0]
        assert [text.get_text() for text in axis.get_legend().get_texts()] == ["00-a"]

    def test_takes_one_run_without_a_name(self, run):
        run.name = None
        assert len(plots.curves(run).axes[0].lines) == 2

    @pytest.mark.parametrize("what", [None, {}, [1], {"a": LinearAutoencoder}, "00-a"], ids=repr)
    def test_refuses_what_are_no_runs(self, what):
        with pytest.raises(TypeError, match=r"named: wanted a run, or several by their name, as {'mine': run}, got "):
            plots.curves(what)

    def test_draws_two_lines_for_each_run(self, run):
        assert len(plots.curves({"a": run, "b": run}).axes[0].lines) == 4

    def test_draws_validation_as_the_line(self, run):
        assert plots.curves({"a": run}).axes[0].lines[0].get_ydata().tolist() == [0.4, 0.2]

    def test_counts_epochs_from_1(self, run):
        assert plots.curves({"a": run}).axes[0].lines[0].get_xdata().tolist() == [1, 2]

    def test_has_a_logarithmic_axis(self, run):
        assert plots.curves({"a": run}).axes[0].get_yscale() == "log"


class TestByCodeSize:
    def test_draws_a_line_for_each_name(self):
        figure = plots.by_code_size({"PCA": {32: 0.1, 64: 0.05}, "linear": {32: 0.2}})
        assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["PCA", "linear"]

    def test_draws_sizes_in_order(self):
        line = plots.by_code_size({"PCA": {64: 0.05, 32: 0.1}}).axes[0].lines[0]
        assert (list(line.get_xdata()), list(line.get_ydata())) == ([32, 64], [0.1, 0.05])

    def test_draws_the_mean_of_seeds(self):
        line = plots.by_code_size({"linear": {32: [0.1, 0.2, 0.6]}}).axes[0].lines[0]
        assert list(line.get_ydata()) == [pytest.approx(0.3)]

    def test_draws_a_bar_from_the_lowest_to_the_highest(self):
        bar = plots.by_code_size({"linear": {32: [0.1, 0.2, 0.6]}}).axes[0].collections[0]
        assert bar.get_segments()[0][:, 1].tolist() == pytest.approx([0.1, 0.6])

    def test_marks_every_size(self):
        axis = plots.by_code_size({"a": {32: 0.1, 64: 0.05}, "b": {128: 0.2}}).axes[0]
        assert [label.get_text() for label in axis.get_xticklabels()] == ["32", "64", "128"]


    @pytest.mark.parametrize("what", [{}, {32: 0.1}, {"PCA": [0.1]}, [0.1], None], ids=repr)
    def test_refuses_what_are_no_errors_by_size(self, what):
        with pytest.raises(TypeError, match=r"named: wanted errors by code size for each name, as {'PCA': {32: "):
            plots.by_code_size(what)


    @pytest.mark.parametrize("errors", [{}, {32: []}], ids=repr)
    def test_refuses_a_name_without_errors(self, errors):
        with pytest.raises(ValueError, match="named: wanted a code size, and an error for each, got .* as 'PCA'"):
            plots.by_code_size({"PCA": errors})


class TestPatterns:
    def test_draws_a_row_for_each_name(self):
        assert len(drawn(plots.patterns({"a": torch.randn(3, 16), "b": torch.randn(3, 16)}, (1, 4, 4)))) == 6

    def test_leaves_the_rest_of_a_shorter_row_empty(self):
        assert len(drawn(plots.patterns({"a": torch.randn(3, 16), "b": torch.randn(2, 16)}, (1, 4, 4)))) == 5

    def test_white_is_zero(self):
        axis = plots.patterns({"a": torch.tensor([[-1.0, 0, 0, 0.5]])}, (1, 2, 2)).axes[0]
        assert axis.images[0].get_clim() == (-1, 1)

    def test_an_empty_pattern_can_be_drawn(self):
        assert isinstance(plots.patterns({"a": torch.zeros(1, 16)}, (1, 4, 4)), Figure)

    def test_takes_a_models_weights_as_they_are(self, model):
        assert isinstance(plots.patterns({"encoder": model.encoder[1].weight}, (1, 4, 4)), Figure)


    @pytest.mark.parametrize("what", [{}, torch.zeros(3, 16), {"a": [[1.0] * 16]}, None], ids=type)
    def test_refuses_what_are_no_named_tensors(self, what):
        with pytest.raises(TypeError, match="vectors: wanted tensors by their name, as {'encoder': weight}, got "):
            plots.patterns(what, (1, 4, 4))

    @pytest.mark.parametrize("shape", [16, (4, 4), None], ids=repr)
    def test_refuses_a_shape_that_is_none(self, shape):
        with pytest.raises(ValueError, match=r"shape: wanted that of an image, \(C, H, W\), got "):
            plots.patterns({"a": torch.zeros(3, 16)}, shape)

    @pytest.mark.parametrize(
        ("vectors", "shape"), [((3, 15), (1, 4, 4)), ((16,), (1, 4, 4)), ((3, 48), (3, 4, 4)), ((0, 16), (1, 4, 4))]
    )
    def test_refuses_vectors_of_another_length_with_their_name(self, vectors, shape):
        with pytest.raises(ValueError, match=r"vectors: wanted shape \(count, \d+\) for .* one channel, .* as 'a'"):
            plots.patterns({"a": torch.zeros(vectors)}, shape)


class TestTable:
    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            (50_992, "50,992"), (0.016831, "0.01683"), (0.1, "0.1000"), (25.987, "25.99"), (1234.6, "1,235"),
            (0, "0"), (0.0, "0"), (-0.25, "-0.2500"), (0.00012345, "0.000123"), (3e-9, "3.0e-09"),
            (float("inf"), "inf"), (float("nan"), "nan"), (True, "True"), ("conv", "conv"), (None, "None"),
            (np.float32(0.25), "0.2500"), (np.int64(50_992), "50,992"), (torch.tensor(0.25), "0.2500"),
            (torch.tensor(3), "3"), (np.bool_(True), "True"),
        ],
    )  # fmt: skip
    def test_a_cell_is_shown(self, value, shown):
        assert plots.table([{"name": "a", "value": value}])["value"].tolist() == [shown]

    def test_the_first_column_is_the_index(self):
        assert plots.table([{"name": "a", "value": 1}, {"name": "b", "value": 2}]).index.tolist() == ["a", "b"]

    def test_the_other_keys_are_the_head(self):
        assert plots.table([{"name": "a", "x": 1, "y": 2}]).columns.tolist() == ["x", "y"]

    def test_no_rows_are_refused(self):
        with pytest.raises(ValueError, match="rows: wanted at least one"):
            plots.table([])

    @pytest.mark.parametrize("rows", [{"name": "a"}, ["a"], [("a", 1)], None, iter(())], ids=type)
    def test_what_are_no_rows_is_refused(self, rows):
        with pytest.raises(TypeError, match=r"rows: wanted a list of mappings, as \[{'model': .*}\], got"):
            plots.table(rows)

    def test_a_row_with_other_keys_is_refused_with_both(self):
        words = r"rows: wanted the same keys in each, \['name', 'x'\], got \['name', 'y'\]"
        with pytest.raises(ValueError, match=words):
            plots.table([{"name": "a", "x": 1}, {"name": "b", "y": 1}])

    def test_the_order_of_keys_does_not_matter(self):
        assert plots.table([{"name": "a", "x": 1}, {"x": 2, "name": "b"}])["x"].tolist() == ["1", "2"]
