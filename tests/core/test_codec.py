"""`aecore.codec`: frequencies by hand, a coder as short as information theory allows, files that never mislead."""

import math
import struct
import zlib

import numpy as np
import pytest

from aecore.codec import CodecError, Container, Decoder, Table, Tables, container, encode, frequencies, logistic_table
from aecore.codec.coder import FARTHEST, LOWEST, STATE_BYTES
from aecore.codec.tables import TOTAL, WIDEST, pack, table_of, unpack

HALVES = Table(0, (32768, 16384, 16384))  # 0 has one bit, 1 has two, and so has the escape
SCALES = [0.06, 0.3, 1.0, 4.0, 20.0]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def tables():
    return Tables([logistic_table(scale) for scale in SCALES])


@pytest.fixture
def message(rng):
    """5,000 values of five distributions, and of each the number of its table."""
    which = rng.integers(0, len(SCALES), 5000)
    return np.rint(rng.logistic(0, np.array(SCALES)[which])).astype(int), which


def decoded(data, which, tables):
    decoder = Decoder(data, tables)
    values = decoder.read(which)
    decoder.finish()
    return values


class TestFrequencies:
    def test_by_hand(self):
        # Each gets 1, and of the other 65,533 half and quarters: 32766.5, 16383.25, 16383.25; the .5 gets the last one.
        assert frequencies([0.5, 0.25, 0.25]) == (32768, 16384, 16384)

    def test_what_is_left_goes_to_the_first_of_equals(self):
        assert frequencies([1, 1, 1]) == (21846, 21845, 21845)

    def test_one_symbol_has_all(self):
        assert frequencies([0.1]) == (TOTAL,)

    def test_what_has_no_probability_can_still_be_written(self):
        assert frequencies([0, 1, 0]) == (1, TOTAL - 2, 1)

    def test_add_up_whatever_they_are_made_of(self, rng):
        for size in (2, 17, 999, WIDEST):
            found = frequencies(rng.random(size) ** 8)
            assert (sum(found), min(found) >= 1) == (TOTAL, True)

    def test_lie_within_one_of_the_exact_share(self, rng):
        given = rng.random(50)
        exact = 1 + (TOTAL - 50) * given / given.sum()
        assert np.abs(np.array(frequencies(given)) - exact).max() < 1

    def test_depend_on_ratios_alone(self, rng):
        given = rng.random(50)
        assert frequencies(given * 2.0**-30) == frequencies(given)

    @pytest.mark.parametrize("given", [[], [[0.5, 0.5]], [0.5, -0.1], [0.5, math.nan], [math.inf], [0.0, 0.0]])
    def test_of_what_are_no_probabilities_are_refused(self, given):
        with pytest.raises(ValueError, match="probabilities: "):
            frequencies(given)

    def test_of_too_many_symbols_are_refused_with_their_number(self):
        with pytest.raises(ValueError, match=rf"wanted 1 to {WIDEST} .*, got {WIDEST + 1} of them"):
            frequencies([1.0] * (WIDEST + 1))


class TestTable:
    def test_bits_are_the_logarithm_of_the_share(self):
        assert [HALVES.bits(value) for value in (0, 1, 2, -1)] == [1, 2, 2, 2]

    def test_what_is_missing_to_one_belongs_to_the_escape(self):
        assert table_of([0.5, 0.25], 0) == HALVES

    def test_knows_its_values(self):
        assert (table_of([0.2, 0.2, 0.2], -1).first, table_of([0.2, 0.2, 0.2], -1).last) == (-1, 1)

    @pytest.mark.parametrize("scale", [0.06, 1.0, 64.0])
    def test_logistic_has_its_closed_form(self, scale):
        # The integral from −½ to ½ is tanh(1 / (4 · scale)); shares and the 1 for each symbol move it by their number.
        table = logistic_table(scale)
        wanted = math.tanh(1 / (4 * scale))
        assert table.frequencies[-table.first] / TOTAL == pytest.approx(wanted, abs=len(table.frequencies) / TOTAL)

    def test_logistic_is_symmetric(self):
        values = logistic_table(3.0).frequencies[:-1]
        assert max(abs(a - b) for a, b in zip(values, values[::-1], strict=True)) <= 1  # the largest remainders

    @pytest.mark.parametrize("scale", [0.06, 1.0, 64.0])
    def test_logistic_costs_hardly_more_than_its_entropy(self, scale):
        table = logistic_table(scale)
        values = np.arange(table.first, table.last + 1)
        edges = 1 / (1 + np.exp(-(np.arange(table.first, table.last + 2) - 0.5) / scale))
        shares = np.diff(edges)
        cost = sum(p * table.bits(v) for p, v in zip(shares, values, strict=True))
        entropy = -(shares * np.log2(shares)).sum()
        # 1 of 65,536 for each symbol takes this share of all others, and the symbols that get it are hardly worth it.
        assert 0 <= cost - entropy < 2 * len(values) / TOTAL

    def test_logistic_reaches_as_far_as_it_is_told(self):
        assert (logistic_table(2.0, reach=5).first, logistic_table(2.0, reach=5).last) == (-10, 10)

    @pytest.mark.parametrize("given", [(0, 1), (-1, 1), (1, 0), (math.inf, 1)])
    def test_logistic_of_no_scale_is_refused(self, given):
        with pytest.raises(ValueError, match="scale, reach: wanted positive"):
            logistic_table(*given)


class TestPackedTables:
    def test_come_back(self, tables):
        assert tuple(unpack(pack(tables.tables))) == tables.tables

    def test_by_hand(self):
        assert pack([HALVES, Table(-5, (TOTAL,))]).tolist() == [0, 3, 32768, 16384, 16384, -5, 1, TOTAL]

    @pytest.mark.parametrize(
        "row",
        [[0], [0, 3, 32768, 16384], [0, 3, 32768, 16384, 16385], [0, 2, TOTAL, 0], [0, 0], [0, -1, TOTAL]],
    )
    def test_that_are_damaged_are_refused(self, row):
        with pytest.raises(ValueError, match="packed: table number 1 is damaged"):
            unpack([0, 1, TOTAL, *row])


class TestCoder:
    def test_one_bit_doubles_the_state(self):
        assert encode(np.array([0]), np.array([0]), Tables([HALVES])) == (2 * LOWEST).to_bytes(STATE_BYTES, "little")

    def test_two_bits_by_hand(self):
        # 1 has the range from 32768 with frequency 16384 = 2¹⁴: (2²⁴ // 2¹⁴) · 2¹⁶ + 32768 = 2²⁶ + 2¹⁵.
        wanted = ((1 << 26) + (1 << 15)).to_bytes(STATE_BYTES, "little")
        assert encode(np.array([1]), np.array([0]), Tables([HALVES])) == wanted

    def test_the_state_stays_below_its_end_by_hand(self):
        # A frequency of 1 would make 2²⁴ into 2⁴⁰, which is too large, so its lowest 16 bits, all 0, are written first.
        data = encode(np.array([0]), np.array([0]), Tables([Table(0, (1, TOTAL - 2, 1))]))
        assert data == LOWEST.to_bytes(STATE_BYTES, "little") + b"\0\0"

    def test_values_come_back(self, tables, message):
        values, which = message
        assert decoded(encode(values, which, tables), which, tables).tolist() == values.tolist()

    def test_length_is_what_the_tables_say(self, tables, message):
        values, which = message
        inside = np.abs(values) <= np.array([table.last for table in tables.tables])[which]
        values, which = values[inside], which[inside]
        bits = sum(tables.tables[w].bits(v) for v, w in zip(values, which, strict=True))
        # The state of 40 bits holds 24 that it began with, and up to 16 that are not written out yet.
        assert 24 <= 8 * len(encode(values, which, tables)) - bits <= 41

    def test_symbols_of_one_table_without_choice_cost_nothing(self):
        tables = Tables([Table(7, (TOTAL - 1, 1))])
        assert len(encode(np.full(1000, 7), np.zeros(1000), tables)) == STATE_BYTES

    def test_can_be_read_in_parts(self, tables, message):
        values, which = message
        decoder = Decoder(encode(values, which, tables), tables)
        found = [decoder.read(which[:1000]), decoder.read(which[1000:1000]), decoder.read(which[1000:])]
        decoder.finish()
        assert np.concatenate(found).tolist() == values.tolist()

    @pytest.mark.parametrize("beyond", [1, 2, 3, 4, 100, FARTHEST])
    @pytest.mark.parametrize("sign", [-1, 1])
    def test_values_beyond_their_table_come_back(self, tables, beyond, sign):
        values, which = np.array([0, sign * (logistic_table(1.0).last + beyond), -1, 5]), np.array([2, 2, 2, 2])
        assert decoded(encode(values, which, tables), which, tables).tolist() == values.tolist()

    def test_several_values_beyond_their_tables_come_back_in_their_order(self, tables):
        values, which = np.array([500, 3, -700, 20, -21, 2, 900]), np.array([2, 3, 1, 2, 2, 2, 4])
        assert decoded(encode(values, which, tables), which, tables).tolist() == values.tolist()

    def test_long_messages_are_one_message(self, tables, rng):
        # Longer than the blocks in which they are made into Python's numbers, with an escape beside the border.
        values = rng.integers(-3, 4, 140_001)
        values[65_535:65_537] = 400
        which = np.full(len(values), 2)
        assert np.array_equal(decoded(encode(values, which, tables), which, tables), values)

    def test_an_escape_costs_its_length_twice_at_most(self):
        # The escape's own two bits, four for the length, one for the side, and 9 for 512 … 1023 without their first 1.
        long = encode(np.array([*[1] * 100, 600]), np.zeros(101), Tables([HALVES]))
        short = encode(np.array([1] * 100), np.zeros(100), Tables([HALVES]))
        assert len(long) - len(short) == 16 // 8

    def test_nothing_takes_no_bytes(self, tables):
        assert encode(np.array([]), np.array([]), tables) == b""
        assert decoded(b"", np.array([]), tables).tolist() == []

    def test_a_value_too_far_away_is_refused(self, tables):
        with pytest.raises(ValueError, match=f"values: one lies .* beyond its table, wanted at most {FARTHEST}"):
            encode(np.array([FARTHEST + 12]), np.array([2]), tables)

    @pytest.mark.parametrize("number", [-1, len(SCALES)])
    def test_a_table_that_is_not_there_is_refused(self, tables, number):
        with pytest.raises(ValueError, match="which: there are tables 0 to 4, got"):
            encode(np.array([0]), np.array([number]), tables)

    def test_rows_of_two_lengths_are_refused(self, tables):
        with pytest.raises(ValueError, match="values, which: wanted two rows of one length"):
            encode(np.array([0, 1]), np.array([0]), tables)


class TestDamagedValues:
    @pytest.fixture
    def data(self, tables, message):
        return encode(*message, tables)

    def test_every_flip_of_a_bit_is_found_out(self, tables, message, data, rng):
        for place in rng.integers(0, len(data), 30):
            damaged = bytearray(data)
            damaged[place] ^= 1 << rng.integers(0, 8)
            with pytest.raises(CodecError):
                decoded(bytes(damaged), message[1], tables)

    @pytest.mark.parametrize("length", [1, STATE_BYTES - 1, STATE_BYTES, STATE_BYTES + 1, -2, -1])
    def test_that_end_too_early_are_found_out(self, tables, message, data, length):
        with pytest.raises(CodecError, match="coded values (end too early|have .* bytes|begin with)"):
            decoded(data[:length], message[1], tables)

    def test_with_more_behind_them_are_found_out(self, tables, message, data):
        with pytest.raises(CodecError, match="do not end where they should"):
            decoded(data + b"\0\0", message[1], tables)

    def test_of_other_tables_are_found_out(self, message, data):
        others = Tables([logistic_table(1.1 * scale) for scale in SCALES])
        with pytest.raises(CodecError, match="the file is damaged, or of another model"):
            decoded(data, message[1], others)

    def test_an_impossible_state_is_found_out(self, tables):
        with pytest.raises(CodecError, match="begin with an impossible number"):
            Decoder((LOWEST - 1).to_bytes(STATE_BYTES, "little"), tables)

    def test_an_escape_without_length_is_found_out(self):
        # 2¹⁶ · … + 49152 lies in the escape's range, and what is left has no bits set: a length of 0.
        state = (1 << 32) + 49152
        with pytest.raises(CodecError, match="impossible escape"):
            Decoder(state.to_bytes(STATE_BYTES, "little") + b"\0\0" * 4, Tables([HALVES])).read(np.array([0]))


CONTENT = Container(b"abcd", 3, 2.5, 480, 640, b"the coded values")


class TestContainer:
    def test_content_comes_back(self):
        assert container.unpack(container.pack(CONTENT)) == CONTENT

    def test_has_24_bytes_besides_the_payload(self):
        assert len(container.pack(CONTENT)) == len(CONTENT.payload) + 24 == len(CONTENT.payload) + container.OVERHEAD

    def test_by_hand(self):
        # Quality 2.5 is 160/64 = 0xA0, 480 is 0x1E0, 640 is 0x280.
        found = container.pack(CONTENT)
        assert found[:20] == b"\x89AEC\x01abcd\x03\xa0\x00\xe0\x01\x80\x02\x10\x00\x00\x00"
        assert found[-4:] == struct.pack("<I", zlib.crc32(found[:-4]))

    def test_every_flip_of_a_bit_is_found_out(self):
        data = container.pack(CONTENT)
        for bit in range(8 * len(data)):
            damaged = bytearray(data)
            damaged[bit // 8] ^= 1 << bit % 8
            with pytest.raises(CodecError):
                container.unpack(bytes(damaged))

    def test_every_length_that_is_too_short_is_found_out(self):
        data = container.pack(CONTENT)
        for length in range(len(data)):
            with pytest.raises(CodecError):
                container.unpack(data[:length])

    def test_more_behind_it_is_found_out(self):
        with pytest.raises(CodecError, match="payload should have 16 bytes and has 17"):
            container.unpack(container.pack(CONTENT) + b"x")

    def test_another_file_is_told_as_such(self):
        with pytest.raises(CodecError, match="it is no .aec file"):
            container.unpack(b"\x89PNG\r\n\x1a\n" + bytes(100))

    def test_another_version_is_named(self):
        data = bytearray(container.pack(CONTENT))
        data[4] = 9
        with pytest.raises(CodecError, match="it is of version 9 of the format; this aecore reads version 1"):
            container.unpack(bytes(data))

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"height": 0}, "got 0×640"),
            ({"width": 16385}, "got 480×16,385"),
            ({"height": 16384, "width": 16384}, "40,000,000 together"),
            ({"channels": 2}, "2 channels"),
        ],
    )
    def test_absurd_sizes_are_refused_though_the_checksum_is_right(self, changes, said, monkeypatch):
        monkeypatch.setattr(container, "check_size", lambda *size: None)
        content = CONTENT._replace(**{name: value for name, value in changes.items() if name != "channels"})
        data = bytearray(container.pack(content))
        data[9] = changes.get("channels", 3)
        data[-4:] = struct.pack("<I", zlib.crc32(data[:-4]))
        monkeypatch.undo()
        with pytest.raises(CodecError, match=said):
            container.unpack(bytes(data))

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"height": 0}, "height and width: wanted"),
            ({"height": 10_000, "width": 10_000}, "height and width: wanted"),
            ({"channels": 4}, "channels: wanted 1 or 3"),
            ({"fingerprint": b"abc"}, "fingerprint: wanted 4 bytes"),
        ],
    )
    def test_what_cannot_be_stored_is_refused(self, changes, said):
        with pytest.raises(ValueError, match=said):
            container.pack(CONTENT._replace(**changes))

    def test_error_is_a_value_error(self):
        assert issubclass(CodecError, ValueError)
