"""`interactive.own_picture`: the controls with which a reader compresses a picture of their own."""

import base64
import io
import re
from datetime import UTC, datetime

import pytest
import torch
from PIL import Image

from aecore import compression
from aecore.data.sample import build
from aecore.interactive.own_picture import Panel, own_picture

pytest.importorskip("ipywidgets")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def codec():
    return compression.load_codec()


@pytest.fixture(scope="module")
def photograph():
    return build("div2k", 96).test.pixels[:1].float() / 255


@pytest.fixture
def panel(codec, photograph):
    return Panel(codec, photograph, 2)


def uploaded(name, content):
    return ({"name": name, "content": content, "type": "", "size": len(content), "last_modified": NOW},)


def picture_file(kind, size=(40, 24), colour=(200, 30, 30)):
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, kind)
    return stream.getvalue()


def downloaded(panel):
    return base64.b64decode(re.search(r"octet-stream;base64,([^\"]+)", panel.view.value)[1])


def sizes(panel):
    return [int(size.replace(",", "")) for size in re.findall(r": ([\d,]+) bytes", panel.view.value)]


def test_file_to_download_holds_the_picture(panel, codec, photograph):
    assert codec.decompress([downloaded(panel)]).shape == photograph.shape


def test_rivals_have_at_most_the_bytes_of_the_file(panel):
    panel.quality.value = 4
    _, ours, *theirs = sizes(panel)
    assert ours == len(downloaded(panel))
    assert len(theirs) == 2
    assert max(theirs) <= ours


def test_another_quality_makes_another_file(panel):
    before = downloaded(panel)
    panel.quality.value = 4
    assert len(downloaded(panel)) > len(before)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_uploaded_picture_takes_the_place_of_the_example(panel, codec, kind):
    panel.upload.value = uploaded("my photo.png", picture_file(kind))
    assert codec.decompress([downloaded(panel)]).shape == (1, 3, 24, 40)
    assert 'download="my photo.aec"' in panel.view.value


def test_an_upload_that_is_no_picture_is_said_by_name(panel):
    panel.upload.value = uploaded("notes<b>.txt", b"no picture")
    assert panel.view.value == "<p>notes&lt;b&gt;.txt is no PNG or JPEG file that can be read.</p>"


def test_name_of_an_upload_is_no_markup(panel):
    panel.upload.value = uploaded('a"><script>.png', picture_file("PNG"))
    assert "<script>" not in panel.view.value


def test_page_without_a_kernel_says_that_a_notebook_is_needed(codec, photograph):
    assert "notebook" in own_picture(codec, photograph).html


def test_quality_that_is_none_is_refused(codec, photograph):
    with pytest.raises(ValueError, match="quality: wanted a number from 1 to 4"):
        own_picture(codec, photograph, 7)


def test_part_that_is_shown_is_the_centre_of_a_large_picture(codec):
    x = torch.zeros(1, 3, 300, 320)
    x[:, :, 22:278, 32:288] = 1  # the centre of 256×256
    shown = re.findall(r'src="data:image/png;base64,([^"]+)" alt="original"', Panel(codec, x, 1).view.value)[0]
    picture = Image.open(io.BytesIO(base64.b64decode(shown)))
    assert picture.size == (256, 256)
    assert picture.getextrema() == ((255, 255),) * 3
