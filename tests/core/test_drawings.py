"""`drawings`: every number of a drawing is the right one and stands in its place, with the right colour."""

from itertools import pairwise

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from aecore import drawings

PICTURE = torch.tensor([[0.0, 0, 1, 1]] * 4)
KERNEL = torch.tensor([[-1.0, 0, 1]] * 3)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def words(figure):
    """Return the texts of a drawing by their places."""
    return {text.get_position(): text.get_text() for text in figure.axes[0].texts if text.get_text()}


def row(figure, y, left=float("-inf")):
    """Return the texts of one height, from left to right."""
    found = {place[0]: text for place, text in words(figure).items() if abs(place[1] - y) < 1e-6}
    return [found[x] for x in sorted(found) if x > left]


def boxes(figure, filled=True):
    patches = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle) and patch.get_fill() == filled]
    return [(patch.get_xy(), patch.get_width(), patch.get_height(), colour_of(patch)) for patch in patches]


def colour_of(patch):
    return to_hex(patch.get_facecolor() if patch.get_fill() else patch.get_edgecolor())


def fills(figure):
    """Return the colour below each number, by its place."""
    return {(x + w / 2, y + h / 2): colour for (x, y), w, h, colour in boxes(figure)}


ORANGE, BLUE, GREEN, VIOLET, GREY, WHITE = (
    to_hex(colour)
    for colour in (
        drawings.ORANGE, drawings.BLUE, drawings.GREEN, drawings.VIOLET, drawings.GREY, drawings.WHITE,
    )
)  # fmt: skip


class TestConvolution:
    def test_without_padding_the_result_is_smaller(self):
        # Each window of PICTURE: left column 0, right column 1 in three rows. Results stand from x = 4 + 3 + 2.4 on.
        figure = drawings.convolution(PICTURE, KERNEL, [(0, 1)])
        assert [row(figure, y, 9.4) for y in (2.5, 3.5)] == [["3", "3"], ["3", "3"]]

    def test_padding_keeps_the_size_and_counts_the_border_as_dark(self):
        figure = drawings.convolution(PICTURE, KERNEL, [(1, 1)])
        assert [row(figure, y, 11.4) for y in (2.5, 3.5, 4.5, 5.5)] == [
            ["0", "2", "2", "−2"], ["0", "3", "3", "−3"], ["0", "3", "3", "−3"], ["0", "2", "2", "−2"],
        ]  # fmt: skip

    def test_stride_keeps_every_second_sum(self):
        figure = drawings.convolution(PICTURE, KERNEL, [(1, 2)])
        assert [row(figure, y, 11.4) for y in (3.5, 4.5)] == [["0", "2"], ["0", "3"]]

    def test_draws_zeros_of_the_padding_on_grey(self):
        below = fills(drawings.convolution(PICTURE, KERNEL, [(1, 1)]))
        grey = [place for place, colour in below.items() if colour == GREY]
        assert len(grey) == 6 * 6 - 4 * 4
        assert (0.5, 1.5) in grey
        assert (1.5, 2.5) not in grey

    def test_frames_two_windows_one_stride_apart(self):
        frames = boxes(drawings.convolution(PICTURE, KERNEL, [(1, 2)]), filled=False)
        assert [(place, width) for place, width, _, _ in frames] == [((2, 1), 3), ((0, 1), 3)]

    def test_sum_has_the_colour_of_its_window(self):
        figure = drawings.convolution(PICTURE, KERNEL, [(1, 2)])
        below = fills(figure)
        assert (below[11.9, 3.5], below[12.9, 3.5]) == (ORANGE, BLUE)
        assert [colour for *_, colour in boxes(figure, filled=False)] == ["#0072b2", "#d55e00"]

    def test_frames_one_window_where_no_second_fits(self):
        assert len(boxes(drawings.convolution(PICTURE, KERNEL, [(0, 2)]), filled=False)) == 1

    def test_rows_do_not_overlap(self):
        figure = drawings.convolution(PICTURE, KERNEL, [(0, 1), (1, 1)])
        assert row(figure, 0.5) == ["padding 0, stride 1"]
        # Title, four rows and a gap of the first, 1 + 4 + 0.6, then the title of the second.
        assert row(figure, 6.1) == ["padding 1, stride 1"]

    def test_refuses_images_of_four_axes(self):
        with pytest.raises(ValueError, match=r"picture: wanted floats, a tensor with 2 axes, got shape \(1, 1, 4, 4\)"):
            drawings.convolution(PICTURE[None, None], KERNEL, [(0, 1)])

    def test_refuses_whole_numbers(self):
        with pytest.raises(ValueError, match="kernel: wanted floats, .* torch.int64"):
            drawings.convolution(PICTURE, KERNEL.long(), [(0, 1)])

    def test_refuses_no_way(self):
        with pytest.raises(ValueError, match="ways: wanted the padding and the stride"):
            drawings.convolution(PICTURE, KERNEL, [])


class TestMaxPooling:
    FIRST = torch.tensor([[9.0, 1, 0, 0], [2, 3, 0, 5], [0, 0, 4, 4], [7, 0, 4, 4]])
    SECOND = torch.tensor([[0.0, 0, 5, 0], [0, 9, 0, 0], [0, 7, 4, 0], [0, 0, 0, 0]])

    def test_maxima_stand_between_the_pictures(self):
        # The pictures are four wide, the maxima begin at 4 + 2 and are two wide; the second picture begins at 10.
        figure = drawings.max_pooling(self.FIRST, self.SECOND)
        found = words(figure)
        assert [found[x, y] for y in (2.4, 3.4) for x in (6.5, 7.5)] == ["9", "5", "7", "4"]
        assert [found[x, 1.4] for x in (0.5, 1.5, 10.5, 12.5)] == ["9", "1", "0", "5"]

    def test_maximum_has_the_colour_of_its_square(self):
        below = fills(drawings.max_pooling(self.FIRST, self.SECOND))
        assert [below[x, y] for y in (2.4, 3.4) for x in (6.5, 7.5)] == [ORANGE, BLUE, GREEN, VIOLET]
        assert [below[x, y] for y in (2.4, 3.4) for x in (1.5, 2.5)] == [ORANGE, BLUE, GREEN, VIOLET]

    def test_refuses_pictures_that_pooling_tells_apart(self):
        with pytest.raises(ValueError, match="second: wanted a picture that pools to"):
            drawings.max_pooling(self.FIRST, self.SECOND + 1)


class TestTransposed:
    VALUES, KERNEL = torch.tensor([[1.0, 2], [3, 0]]), torch.tensor([[1, 0.5], [0.5, 0]])

    def test_copies_of_the_kernel_stand_side_by_side(self):
        figure = drawings.transposed(self.VALUES, self.KERNEL, 2)
        # 2 + 2 + 2.4 columns stand before the result.
        assert [row(figure, y, 6.4) for y in (1.4, 2.4, 3.4, 4.4)] == [
            ["1", "0.5", "2", "1"], ["0.5", "0", "1", "0"], ["3", "1.5", "0", "0"], ["1.5", "0", "0", "0"],
        ]  # fmt: skip

    def test_copy_has_the_colour_of_its_value(self):
        below = fills(drawings.transposed(self.VALUES, self.KERNEL, 2))
        assert [below[x, y] for y in (2.4, 3.4) for x in (0.5, 1.5)] == [ORANGE, BLUE, GREEN, VIOLET]
        assert [below[x, y] for y in (2.4, 3.4) for x in (7.9, 8.9)] == [ORANGE, BLUE, GREEN, VIOLET]

    def test_refuses_copies_that_overlap(self):
        with pytest.raises(ValueError, match="stride: wanted at least 2, so that no kernels overlap, got 1"):
            drawings.transposed(self.VALUES, self.KERNEL, 1)


class TestTwoViews:
    @pytest.fixture
    def figure(self):
        return drawings.two_views(torch.tensor([1.0, 3, 2]), torch.tensor([1.0, 2, 3]), 2)

    def test_each_value_scales_its_kernel_two_further(self, figure):
        assert [row(figure, y) for y in (1.5, 2.5, 3.5)] == [
            ["1 ×", "1", "2", "3"], ["3 ×", "3", "6", "9"], ["2 ×", "2", "4", "6"],
        ]  # fmt: skip
        assert [words(figure)[2.5 + 2 * i, 1.5 + i] for i in range(3)] == ["1", "3", "2"]

    def test_sum_and_number_of_kernels_stand_below(self, figure):
        assert row(figure, 4.8) == ["sum", "1", "2", "6", "6", "11", "4", "6"]
        assert row(figure, 5.7) == ["kernels", "1", "1", "2", "1", "2", "1", "1"]

    def test_second_view_has_zeros_between_and_at_the_ends(self, figure):
        assert row(figure, 6.9 + 2.15) == ["0", "0", "1", "0", "3", "0", "2", "0", "0"]

    def test_second_view_turns_the_kernel_round(self, figure):
        assert row(figure, 6.9 + 1.1) == ["3", "2", "1"]

    def test_framed_sum_is_that_of_the_framed_window(self, figure):
        # 3 · 1 + 2 · 0 + 1 · 3 = 6, the third number that comes out.
        (window, width, _, _), (place, *_) = boxes(figure, filled=False)
        under = [words(figure)[window[0] + i + 0.5, window[1] + 0.5] for i in range(int(width))]
        assert under == ["1", "0", "3"]
        assert words(figure)[place[0] + 0.5, place[1] + 0.5] == "6"
        assert place[0] - 2 == 2  # the results begin at 2

    def test_both_views_end_with_the_same_numbers(self, figure):
        assert row(figure, 6.9 + 3.9) == row(figure, 4.8)[1:]


class TestOverlaps:
    @pytest.fixture
    def figure(self):
        return drawings.overlaps((2, 3, 4), count=4)

    @pytest.mark.parametrize(
        ("number", "counts"), [(0, "1" * 8), (1, "112121211"), (2, "1122222211")], ids=["2", "3", "4"]
    )
    def test_counts_the_kernels_on_each_pixel(self, figure, number, counts):
        # A drawing of 3.5 for each width: title, bars on two lines, counts.
        assert "".join(row(figure, 3.5 * number + 2.6)) == counts

    def test_bars_begin_two_apart(self, figure):
        bars = [(round(x, 2), round(w, 2)) for (x, y), w, h, _ in boxes(figure) if h < 1 and 3.5 < y < 7]
        assert bars == [(0.06, 2.88), (2.06, 2.88), (4.06, 2.88), (6.06, 2.88)]

    def test_darker_is_more(self, figure):
        below = fills(figure)
        assert [below[x + 0.5, 3.5 + 2.6] for x in range(3)] == [WHITE, WHITE, ORANGE]

    def test_in_two_dimensions_counts_multiply(self, figure):
        # Three kernels of width 3 cover seven pixels.
        assert ["".join(row(figure, 3 * 3.5 + 1.5 + i)) for i in range(3)] == ["1121211", "1121211", "2242422"]

    def test_bars_on_one_line_do_not_overlap(self):
        bars = sorted((y, x, x + w) for (x, y), w, h, _ in boxes(drawings.overlaps((5,), count=4)) if h < 1)
        assert all(end <= begin for (y, _, end), (other, begin, _) in pairwise(bars) if y == other)

    def test_refuses_no_width(self):
        with pytest.raises(ValueError, match="kernels: wanted one width or more"):
            drawings.overlaps((), count=3)


class TestPlane:
    def test_points_of_a_plane_lie_on_it(self):
        # z = x + y: whatever the two directions are, each point is its own foot.
        x, y = torch.tensor([0.0, 1, 2, 0, 3]), torch.tensor([1.0, 0, 2, 3, 1])
        axis = drawings.plane(torch.stack([x, y, x + y], 1)).axes[0]
        sticks = [torch.tensor([list(map(float, values)) for values in line.get_data_3d()]) for line in axis.lines]
        assert len(sticks) == 5
        assert max((stick[:, 0] - stick[:, 1]).norm() for stick in sticks) < 1e-5

    def test_sticks_are_at_right_angles_to_the_plane(self):
        # A cross in the plane of the first two pixels, and two points above and below its middle.
        points = torch.tensor([[3.0, 0, 0], [-3, 0, 0], [0, 2, 0], [0, -2, 0], [0, 0, 0.5], [0, 0, -0.5]])
        axis = drawings.plane(points).axes[0]
        feet = torch.tensor([[float(values[1]) for values in line.get_data_3d()] for line in axis.lines])
        assert torch.allclose(feet, points * torch.tensor([1.0, 1, 0]), atol=1e-5)

    def test_directions_point_to_brighter_pictures(self):
        # The longest direction is the diagonal; a decomposition may return either sign of it.
        points = torch.tensor([[3.0, 3, 3], [-3, -3, -3], [1, -1, 0], [-1, 1, 0], [0.1, 0.1, -0.2]])
        for turned in (points, -points):
            axis = drawings.plane(turned).axes[0]
            place = next(text.get_position_3d() for text in axis.texts if text.get_text() == "$u_1$")
            assert sum(place) > turned.mean(0).sum()

    def test_refuses_points_of_two_pixels(self):
        with pytest.raises(ValueError, match=r"points: wanted \(N, 3\) with N of at least 4, got \(5, 2\)"):
            drawings.plane(torch.zeros(5, 2))


ROWS = {"first": ["1\n28 × 28", ("Conv", drawings.BLUE), "8\n14 × 14"], "second": ["a", "b"]}


class TestLayers:
    def test_boxes_stand_in_their_order_below_their_name(self):
        figure = drawings.layers(ROWS)
        by_height = sorted(words(figure).items(), key=lambda item: (item[0][1], item[0][0]))
        assert [text for _, text in by_height] == ["first", "1\n28 × 28", "Conv", "8\n14 × 14", "second", "a", "b"]

    def test_layer_has_its_fill_and_a_shape_is_white(self):
        figure = drawings.layers(ROWS)
        colour = {words(figure)[place]: fill for place, fill in fills(figure).items()}
        assert (colour["Conv"], colour["1\n28 × 28"]) == (BLUE, WHITE)

    def test_one_arrow_fewer_than_boxes(self):
        arrows = [text for text in drawings.layers(ROWS).axes[0].texts if not text.get_text()]
        assert len(arrows) == 2 + 1

    def test_refuses_a_network_without_layers(self):
        with pytest.raises(ValueError, match="rows: wanted one network or more"):
            drawings.layers({"empty": []})


def test_numbers_are_no_wider_than_their_cells():
    figure = drawings.convolution(PICTURE, KERNEL, [(1, 1)])
    (axis,) = figure.axes
    cell = axis.transData.transform((1, 0))[0] - axis.transData.transform((0, 0))[0]
    numbers = [text for text in axis.texts if text.get_text().lstrip("−").isdigit()]
    assert len(numbers) == 36 + 9 + 16
    assert max(text.get_window_extent().width for text in numbers) < cell


def test_rows_run_downwards():
    (axis,) = drawings.transposed(TestTransposed.VALUES, TestTransposed.KERNEL, 2).axes
    top, bottom = axis.transData.transform([(0, 0), (0, 1)])[:, 1]
    assert top > bottom


def test_words_of_nine_letters_fit_into_the_box_of_a_layer():
    figure = drawings.layers({"": ["64\n14×14", ("TConv 2×2", drawings.ORANGE), "max pool", "64", "28×28"]})
    (axis,) = figure.axes
    box = next(patch for patch in axis.patches if isinstance(patch, Rectangle)).get_window_extent().width
    assert max(text.get_window_extent().width for text in axis.texts if text.get_text()) < box
