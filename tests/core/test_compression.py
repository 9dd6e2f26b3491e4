"""`aecore compress` and `decompress`: pictures on the disk, and what is said of them."""

import io
import re
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from aecore import compression
from aecore.cli import main
from aecore.codec import container
from aecore.models import CompressiveAutoencoder


@pytest.fixture(scope="module")
def codec():
    torch.manual_seed(0)
    model = CompressiveAutoencoder((3, 16, 16), 8, 6, (2, 2), (0.001, 0.01, 0.1))
    return model.codec()


@pytest.fixture
def weights(codec, tmp_path):
    """A file with the weights of a codec."""
    path = tmp_path / "codec.weights"
    path.write_bytes(codec.to_bytes())
    return str(path)


@pytest.fixture
def photo(tmp_path):
    """A PNG of 21×13 pixels in colour."""
    pixels = np.random.default_rng(0).integers(0, 256, (13, 21, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def run(*arguments):
    return main([str(argument) for argument in arguments])


class TestCommands:
    def test_a_picture_goes_there_and_back(self, photo, weights, tmp_path, codec):
        assert run("compress", photo, "-o", tmp_path / "photo.aec", "--quality", "2.5", "--weights", weights) == 0
        assert run("decompress", tmp_path / "photo.aec", "-o", tmp_path / "again.png", "--weights", weights) == 0
        file = (tmp_path / "photo.aec").read_bytes()
        assert container.unpack(file).quality == 2.5
        wanted = (codec.decompress([file])[0] * 255).round().byte().permute(1, 2, 0).numpy()
        assert np.array_equal(np.array(Image.open(tmp_path / "again.png")), wanted)

    def test_one_line_tells_bytes_rate_error_and_time(self, photo, weights, tmp_path, capsys, codec):
        run("compress", photo, "-o", tmp_path / "photo.aec", "--quality", "1", "--weights", weights)
        size = (tmp_path / "photo.aec").stat().st_size
        x = torch.from_numpy(np.array(Image.open(photo))).permute(2, 0, 1)[None] / 255
        error = (codec.decompress(codec.compress(x, 1)) - x).square().mean()
        told = f"{8 * size / 273:.3f} bit/pixel, {-10 * error.log10():.2f} dB"
        wanted = rf"photo.aec: 21×13 pixels in {size} bytes, {told}"
        assert re.search(wanted + r", \d+\.\d s$", capsys.readouterr().out.strip())

    def test_a_line_of_a_decoded_file_tells_no_error(self, photo, weights, tmp_path, capsys):
        run("compress", photo, "-o", tmp_path / "photo.aec", "--weights", weights)
        capsys.readouterr()
        run("decompress", tmp_path / "photo.aec", "-o", tmp_path / "again.png", "--weights", weights)
        assert re.search(r"again.png: 21×13 pixels in \d+ bytes, [\d.]+ bit/pixel, \d+\.\d s$", capsys.readouterr().out)

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "it is no .aec file"),
            (b"hello, this is a text", "it is no .aec file"),
            (b"\x89AEC\x01abc", "it ends too early"),
            (b"\x89AEC\x09" + bytes(40), "it is of version 9"),
        ],
    )
    def test_a_file_that_is_none_is_one_clear_line_and_status_1(self, weights, tmp_path, capsys, content, said):
        (tmp_path / "some.aec").write_bytes(content)
        assert run("decompress", tmp_path / "some.aec", "-o", tmp_path / "x.png", "--weights", weights) == 1
        told = capsys.readouterr().err
        assert said in told
        assert (told.count("\n"), told.startswith(f"aecore decompress: {tmp_path / 'some.aec'}: ")) == (1, True)
        assert not (tmp_path / "x.png").exists()

    def test_a_picture_that_is_none_is_status_1(self, weights, tmp_path, capsys):
        (tmp_path / "photo.png").write_bytes(b"no picture")
        assert run("compress", tmp_path / "photo.png", "-o", tmp_path / "photo.aec", "--weights", weights) == 1
        assert "photo.png is not a photograph that can be read" in capsys.readouterr().err

    @pytest.mark.parametrize("command", ["compress", "decompress"])
    def test_that_no_codec_is_published_is_said_with_the_way_out(self, photo, tmp_path, capsys, command, monkeypatch):
        monkeypatch.setattr(compression, "PUBLISHED", tmp_path / "nowhere")
        assert run(command, photo, "-o", tmp_path / "x.png") == 1
        assert "no codec is published with this version of aecore. Train one" in capsys.readouterr().err

    def test_the_published_codec_is_taken_where_there_is_one(self, photo, weights, tmp_path, monkeypatch):
        monkeypatch.setattr(compression, "PUBLISHED", tmp_path / "codec.weights")
        assert run("compress", photo, "-o", tmp_path / "photo.aec") == 0

    def test_weights_that_are_none_are_named(self, photo, tmp_path, capsys):
        assert run("compress", photo, "-o", tmp_path / "photo.aec", "--weights", photo) == 1
        assert f"{photo}: these are no weights of a codec" in capsys.readouterr().err

    @pytest.mark.parametrize("quality", ["0.5", "3.5", "nan"])
    def test_a_quality_that_is_not_there_is_status_1(self, photo, weights, tmp_path, capsys, quality):
        arguments = ("compress", photo, "-o", tmp_path / "x.aec", "--quality", quality, "--weights", weights)
        assert run(*arguments) == 1
        assert "quality: wanted a number from 1 to 3" in capsys.readouterr().err


    def test_refining_makes_a_cheaper_file(self, weights, tmp_path, codec):
        pixels = np.random.default_rng(0).integers(100, 156, (24, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photo.png")
        x = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
        costs = []
        for steps in (0, 30):
            path = tmp_path / f"{steps}.aec"
            assert run("compress", tmp_path / "photo.png", "-o", path, "--weights", weights, "--refine", steps) == 0
            error = (codec.decompress([path.read_bytes()]) - x).square().mean().item()
            costs.append(codec.lmbdas[1] * 255**2 * error + 8 * path.stat().st_size / 960)
        assert costs[1] < costs[0]

    def test_steps_that_are_none_are_status_1(self, photo, weights, tmp_path, capsys):
        assert run("compress", photo, "-o", tmp_path / "x.aec", "--weights", weights, "--refine", "-1") == 1
        assert "refine: wanted a number of steps, such as 100, or 0 for none, got -1" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self):
        return True


class TestProgress:
    @pytest.fixture
    def shown(self, photo, weights, tmp_path, monkeypatch):
        """What the two commands write on standard error, in an environment and on a stream."""

        def run_both(stream, progress="1", delay=0):
            monkeypatch.setenv("AECORE_PROGRESS", progress)
            monkeypatch.setattr(compression, "DELAY", delay)
            monkeypatch.setattr(sys, "stderr", stream)
            run("compress", photo, "-o", tmp_path / "x.aec", "--weights", weights)
            run("decompress", tmp_path / "x.aec", "-o", tmp_path / "x.png", "--weights", weights)
            return stream.getvalue()

        return run_both

    def test_is_shown_on_a_terminal(self, shown):
        told = shown(Terminal())
        assert [what in told for what in ("encoding:   0%", "reading it again:", "decoding:")] == [True] * 3

    def test_is_not_shown_elsewhere(self, shown):
        assert shown(io.StringIO()) == ""

    def test_is_not_shown_where_the_environment_says_so(self, shown):
        assert shown(Terminal(), progress="0") == ""

    def test_is_not_shown_of_what_takes_no_time(self, shown):
        assert "%" not in shown(Terminal(), delay=60)


class TestFilesOfPictures:
    def there_and_back(self, pixels, codec, tmp_path):
        Image.fromarray(pixels).save(tmp_path / "in.png")
        compression.compress(tmp_path / "in.png", tmp_path / "x.aec", 3, codec)
        compression.decompress(tmp_path / "x.aec", tmp_path / "out.png", codec)
        return np.array(Image.open(tmp_path / "out.png"))

    @pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1), (17, 40)])
    def test_keep_their_size(self, codec, tmp_path, size):
        assert self.there_and_back(np.full((*size, 3), (10, 200, 90), np.uint8), codec, tmp_path).shape == (*size, 3)

    def test_that_are_grey_stay_grey(self, codec, tmp_path):
        assert self.there_and_back(np.full((9, 5), 77, np.uint8), codec, tmp_path).shape == (9, 5)

    def test_in_colour_whose_pixels_are_all_grey_are_stored_as_grey(self, codec, tmp_path):
        assert self.there_and_back(np.full((9, 5, 3), 77, np.uint8), codec, tmp_path).shape == (9, 5)

    def test_are_not_written_over_their_original(self, codec, photo):
        before = photo.read_bytes()
        with pytest.raises(ValueError, match="target: wanted another file than"):
            compression.compress(photo, photo, 1, codec)
        assert photo.read_bytes() == before

    def test_are_written_as_png_alone(self, codec, photo, tmp_path):
        compression.compress(photo, tmp_path / "x.aec", 1, codec)
        with pytest.raises(ValueError, match=r"target: wanted a name that ends in .png, got x.jpg"):
            compression.decompress(tmp_path / "x.aec", tmp_path / "x.jpg", codec)

    def test_that_are_far_too_large_are_not_read_whole(self, codec, tmp_path, monkeypatch):
        monkeypatch.setattr(compression, "MAX_BYTES", 10)
        (tmp_path / "x.aec").write_bytes(container.MAGIC + bytes(1000))
        assert len(compression._read(tmp_path / "x.aec")) == 11
