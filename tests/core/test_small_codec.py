"""`aecore.codec` for small pictures: rows of frequencies, exact fractions, the format of albums and of one picture."""

import itertools
import math
import struct
import zlib

import numpy as np
import pytest

from aecore.codec import CodecError, Decoder, album, container, fraction
from aecore.codec.coder import LOWEST, STATE_BYTES, encode_ranges
from aecore.codec.tables import PRECISION, TOTAL

MODEL = b"\x01\x02\x03\x04"


def rows_of(rng, count, symbols):
    """Random rows of where ranges begin, (count, symbols + 1)."""
    cuts = [np.sort(rng.choice(TOTAL - 1, symbols - 1, replace=False)) + 1 for _ in range(count)]
    return np.array([[0, *cut, TOTAL] for cut in cuts])


def ranges_of(symbols, rows):
    places = np.arange(len(symbols))
    begins = rows[places, symbols]
    return begins, rows[places, symbols + 1] - begins


@pytest.fixture
def message():
    """300 symbols, each with a row of its own, drawn as often as its frequencies say."""
    rng = np.random.default_rng(0)
    rows = rows_of(rng, 300, 9)
    return np.array([np.searchsorted(row, rng.integers(TOTAL), "right") - 1 for row in rows]), rows


def bits_of(message):
    return (PRECISION - np.log2(ranges_of(*message)[1])).sum()


class TestRows:
    def test_come_back(self, message):
        symbols, rows = message
        decoder = Decoder(encode_ranges(*ranges_of(symbols, rows)))
        found = [decoder.read_rows(rows[:100]), decoder.read_rows(rows[100:])]
        decoder.finish()
        assert np.concatenate(found).tolist() == symbols.tolist()

    def test_longer_than_a_block_come_back(self, monkeypatch, message):
        monkeypatch.setattr("aecore.codec.coder.ROWS", 7)
        symbols, rows = message
        assert Decoder(encode_ranges(*ranges_of(symbols, rows))).read_rows(rows).tolist() == symbols.tolist()

    def test_by_hand(self):
        # A half doubles the state.
        data = encode_ranges(np.array([0]), np.array([TOTAL // 2]))
        assert data == (2 * LOWEST).to_bytes(STATE_BYTES, "little")

    def test_that_end_early_are_refused(self, message):
        symbols, rows = message
        data = encode_ranges(*ranges_of(symbols, rows))
        with pytest.raises(CodecError, match="end too early"):
            Decoder(data[:-20]).read_rows(rows)


class TestFraction:
    @pytest.mark.parametrize(
        ("begins", "frequencies", "wanted"),
        [
            # The lower half is told by 0, which needs no byte; the upper half by ½ = 128/256.
            ([0], [TOTAL // 2], b""),
            ([TOTAL // 2], [TOTAL // 2], b"\x80"),
            # The third quarter of the upper half begins at ½ + ¼ = ¾.
            ([TOTAL // 2, TOTAL // 2], [TOTAL // 2, TOTAL // 4], b"\xc0"),
            # From 3/65536 on, and shorter than 1/256: two bytes.
            ([3], [5], b"\x00\x03"),
            ([], [], b""),
        ],
    )
    def test_by_hand(self, begins, frequencies, wanted):
        assert fraction.encode(np.array(begins), np.array(frequencies)) == wanted

    def test_comes_back_in_parts(self, message):
        symbols, rows = message
        decoder = fraction.FractionDecoder(fraction.encode(*ranges_of(symbols, rows)))
        found = [decoder.read_rows(rows[:100]), decoder.read_rows(rows[100:])]
        decoder.finish()
        assert np.concatenate(found).tolist() == symbols.tolist()

    def test_has_no_more_bytes_than_the_information_fills(self, message):
        for end in range(1, 60):
            part = tuple(values[:end] for values in message)
            assert len(fraction.encode(*ranges_of(*part))) <= math.ceil(bits_of(part) / 8)

    def test_lies_in_its_interval_and_no_shorter_one_does(self):
        # All messages of three symbols with frequencies 1/2, 3/8, 1/8, worked with floats, which hold these exactly.
        edges = [0, 0.5, 0.875, 1]
        for symbols in itertools.product(range(3), repeat=3):
            low, width = 0.0, 1.0
            for symbol in symbols:
                low, width = low + width * edges[symbol], width * (edges[symbol + 1] - edges[symbol])
            begins = np.array([int(edges[s] * TOTAL) for s in symbols])
            data = fraction.encode(begins, np.array([int(edges[s + 1] * TOTAL) for s in symbols]) - begins)
            assert low <= int.from_bytes(data, "big") / 256 ** len(data) < low + width
            shorter = 256 ** (len(data) - 1) if data else 0
            assert not any(low <= number / shorter < low + width for number in range(shorter))

    @pytest.mark.parametrize("change", [lambda data: data + b"\0", lambda data: data + b"\x01"])
    def test_longer_than_needed_is_refused(self, message, change):
        symbols, rows = message
        decoder = fraction.FractionDecoder(change(fraction.encode(*ranges_of(symbols, rows))))
        decoder.read_rows(rows)
        with pytest.raises(CodecError, match="not as an encoder writes them"):
            decoder.finish()


class TestAlbum:
    def test_comes_back(self):
        content = album.Album(MODEL, 7, b"abc")
        assert album.unpack(album.pack(content)) == content

    def test_by_hand(self):
        body = b"\x89AEC\x02" + MODEL + b"\x07\0\0\0" + b"\x03\0\0\0" + b"abc"
        assert album.pack(album.Album(MODEL, 7, b"abc")) == body + struct.pack("<I", zlib.crc32(body))

    def test_has_the_overhead_that_is_stated(self):
        assert len(album.pack(album.Album(MODEL, 0, b""))) == album.OVERHEAD == 21

    def test_every_bit_counts(self):
        data = album.pack(album.Album(MODEL, 7, b"abc"))
        for place in range(8 * len(data)):
            changed = bytearray(data)
            changed[place // 8] ^= 1 << place % 8
            with pytest.raises(CodecError):
                album.unpack(bytes(changed))

    def test_every_part_of_it_is_refused(self):
        data = album.pack(album.Album(MODEL, 7, b"abc"))
        for end in range(len(data)):
            with pytest.raises(CodecError):
                album.unpack(data[:end])

    def test_whose_length_is_wrong_is_told_so_though_its_checksum_is_right(self):
        body = b"\x89AEC\x02" + MODEL + b"\x07\0\0\0" + b"\x04\0\0\0" + b"abc"
        with pytest.raises(CodecError, match="its payload should have 4 bytes and has 3"):
            album.unpack(body + struct.pack("<I", zlib.crc32(body)))

    def test_too_many_pictures_are_refused(self):
        with pytest.raises(ValueError, match="count: wanted at most 65,536"):
            album.pack(album.Album(MODEL, 65_537, b""))

    def test_a_file_that_says_too_many_is_refused(self, monkeypatch):
        monkeypatch.setattr(album, "MAX_PICTURES", 1 << 20)
        data = album.pack(album.Album(MODEL, 65_537, b""))
        monkeypatch.undo()
        with pytest.raises(CodecError, match="65,537 pictures, wanted at most 65,536"):
            album.unpack(data)

    def test_is_refused_by_name_where_a_picture_is_wanted(self):
        with pytest.raises(CodecError, match="it is an album of small pictures"):
            container.unpack(album.pack(album.Album(MODEL, 1, b"abc")))

    def test_a_picture_is_refused_by_its_version_where_an_album_is_wanted(self):
        picture = container.pack(container.Container(MODEL, 1, 1.0, 8, 8, b"abc"))
        with pytest.raises(CodecError, match="it is of version 1 of the format"):
            album.unpack(picture)


class TestAlone:
    def test_comes_back(self):
        assert album.unpack_alone(album.pack_alone(MODEL, b"abc"), MODEL) == b"abc"

    def test_by_hand(self):
        check = zlib.crc32(MODEL + b"\x8a" + b"abc").to_bytes(4, "little")[:3]
        assert album.pack_alone(MODEL, b"abc") == b"\x8a" + check + b"abc"

    def test_of_another_model_is_refused(self):
        with pytest.raises(CodecError, match="damaged, or was made with another model"):
            album.unpack_alone(album.pack_alone(MODEL, b"abc"), b"\x01\x02\x03\x05")

    @pytest.mark.parametrize("data", [b"", b"\x8a", b"\x8aab", b"\x89AEC\x02", b"\x8a" + bytes(1 << 14)])
    def test_what_is_none_is_refused(self, data):
        with pytest.raises(CodecError):
            album.unpack_alone(data, MODEL)

    def test_any_two_wrong_bits_are_found(self):
        # Of a payload of 20 bytes, as a digit has: all pairs of bits behind the kind.
        data = album.pack_alone(MODEL, bytes(range(20)))
        whole, places = int.from_bytes(data, "big"), range(8 * (len(data) - 1))
        for pair in itertools.combinations(places, 2):
            changed = whole ^ 1 << pair[0] ^ 1 << pair[1]
            with pytest.raises(CodecError):
                album.unpack_alone(changed.to_bytes(len(data), "big"), MODEL)
