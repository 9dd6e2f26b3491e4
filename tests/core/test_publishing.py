"""`publishing`: a notebook is executed whole, or stays as it was; its hash is that of its code."""

import io
import json
import shutil

import jupytext
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from aecore import config, journal, publishing, runs
from aecore.experiment import fit
from aecore.models import LinearAutoencoder
from aecore.publishing import code_hash
from aecore.runs import store
from aecore.training import Plan


def notebook(*code, text="# A page"):
    return new_notebook(cells=[new_markdown_cell(text), *(new_code_cell(source) for source in code)])


def written(folder, *code, name="00_page"):
    """Write the pair `.ipynb` and `.md`, and return the path of the first."""
    path = folder / f"{name}.ipynb"
    page = notebook(*code)
    nbformat.write(page, path)
    jupytext.write(page, path.with_suffix(".md"), fmt="md:myst")
    return path


class TestCodeHash:
    def test_changes_with_the_code(self):
        assert code_hash(notebook("1 + 1")) != code_hash(notebook("1 + 2"))

    def test_changes_with_the_order_of_cells(self):
        assert code_hash(notebook("a = 1", "b = 2")) != code_hash(notebook("b = 2", "a = 1"))

    def test_changes_where_a_cell_is_divided(self):
        assert code_hash(notebook("a = 1\nb = 2")) != code_hash(notebook("a = 1", "b = 2"))

    def test_does_not_change_with_the_text(self):
        assert code_hash(notebook("1 + 1", text="one")) == code_hash(notebook("1 + 1", text="two"))

    def test_does_not_change_with_outputs(self):
        page = notebook("1 + 1")
        before = code_hash(page)
        page.cells[1].outputs = [new_output("stream", text="2")]
        page.cells[1].execution_count = 4
        assert code_hash(page) == before

    def test_does_not_change_when_written_and_read(self, tmp_path):
        nbformat.write(notebook("a = 'ä'\n1 + 1"), tmp_path / "a.ipynb")
        assert code_hash(nbformat.read(tmp_path / "a.ipynb", as_version=4)) == code_hash(notebook("a = 'ä'\n1 + 1"))


CODE = "import os\nimport aecore.config\nprint(aecore.config.profile(), os.environ['AECORE_PROGRESS'])\n1 + 1"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A page of two cells, published once; AECORE_PROFILE says quick outside."""
    folder = tmp_path_factory.mktemp("chapters")
    path = written(folder, CODE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AECORE_PROFILE", "quick")
        patch.setattr(store, "PUBLISHED", folder / "published")
        facts = publishing.publish(path)
    return path, facts, nbformat.read(path, as_version=4)


class TestPublish:
    def test_stores_the_outputs(self, published):
        assert [output.get("data", {}).get("text/plain") for output in published[2].cells[1].outputs][-1] == "2"

    def test_executes_under_the_full_profile_without_progress_bars(self, published):
        assert published[2].cells[1].outputs[0].text == "full 0\n"

    def test_needs_neither_data_nor_runs(self, published):
        assert (published[1]["data"], published[1]["runs"]) == ([], [])

    @pytest.mark.parametrize("fact", ["profile", "date", "device", "versions", "data", "runs", "code_sha256"])
    def test_writes_its_facts_into_the_metadata(self, published, fact):
        assert published[2].metadata["aecore"][fact] == published[1][fact]

    def test_the_hash_is_that_of_the_code_cells(self, published):
        assert published[1]["code_sha256"] == code_hash(published[2])

    def test_keeps_no_times_of_day(self, published):
        assert not any("execution" in cell.metadata for cell in published[2].cells)

    def test_keeps_the_ids_of_cells(self, tmp_path):
        path = written(tmp_path, "1 + 1")
        before = [cell.id for cell in nbformat.read(path, as_version=4).cells]
        publishing.publish(path)
        assert [cell.id for cell in nbformat.read(path, as_version=4).cells] == before

    def test_leaves_no_other_file(self, published):
        names = sorted(path.name for path in published[0].parent.iterdir() if path.is_file())
        assert names == ["00_page.ipynb", "00_page.md"]

    def test_gives_a_valid_notebook(self, published):
        nbformat.validate(published[2])


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    """A page whose second cell stops, the bytes before, and the error."""
    path = written(tmp_path_factory.mktemp("chapters"), "print('so far')", "1 / 0")
    before = path.read_bytes()
    with pytest.raises(CellExecutionError) as caught:
        publishing.publish(path)
    return path, before, caught.value


def test_a_failing_cell_leaves_the_file_as_it_was(failed):
    assert failed[0].read_bytes() == failed[1]


def test_a_failing_cell_is_shown_with_its_error(failed):
    assert "ZeroDivisionError" in str(failed[2])


@pytest.fixture
def differing(tmp_path):
    """A pair whose `.md` was edited and not synchronised."""
    path = written(tmp_path, "1 + 1")
    twin = path.with_suffix(".md")
    twin.write_text(twin.read_text().replace("1 + 1", "1 + 2"))
    return path


def test_a_pair_that_differs_is_refused_with_the_way_out(differing):
    with pytest.raises(ValueError, match=r"00_page\.ipynb and its \.md twin differ; run 'jupytext --sync"):
        publishing.publish(differing)


def test_a_pair_that_differs_stays_as_it_was(differing):
    before = differing.read_bytes()
    with pytest.raises(ValueError, match="twin differ"):
        publishing.publish(differing)
    assert differing.read_bytes() == before


def test_a_run_that_cannot_be_stored_leaves_the_page_as_it_was(tmp_path, monkeypatch):
    path = written(tmp_path, "1 + 1")
    before = path.read_bytes()

    def refuse(chapter, used):
        raise ValueError("too large")

    monkeypatch.setattr(publishing, "_store_runs", refuse)
    with pytest.raises(ValueError, match="too large"):
        publishing.publish(path)
    assert path.read_bytes() == before


def brightest(model, images):
    return model(images.floats()).amax((1, 2, 3)).tolist()


def trained(splits, name="00-a", weights=True, **plan):
    return fit(LinearAutoencoder((1, 4, 4), 3), splits, Plan(**{"epochs": 1, **plan}), name=name, weights=weights)


def lines():
    """The published runs by name."""
    return {facts["name"]: facts for facts in runs.published()}


class TestRuns:
    @pytest.fixture
    def used(self, splits):
        """The journal's facts on one stored run of chapter 00."""
        trained(splits)
        return journal.entries()

    def test_those_that_a_chapter_used_are_stored(self, used):
        publishing._store_runs("00", used)
        assert list(lines()) == ["00-a"]

    def test_those_that_it_uses_no_more_are_removed(self, used, splits):
        publishing._store_runs("00", used)
        journal.begin()
        trained(splits, name="00-b")
        publishing._store_runs("00", journal.entries())
        assert list(lines()) == ["00-b"]
        assert list(store.published_weights()) == ["00-b"]

    def test_those_of_other_chapters_stay(self, used, splits):
        trained(splits, name="01-linear")
        publishing._store_runs("01", journal.entries())
        publishing._store_runs("00", used)
        assert list(lines()) == ["00-a", "01-linear"]

    def test_those_of_other_chapters_that_it_used_are_not_stored_with_it(self, used, splits):
        trained(splits, name="01-linear")
        publishing._store_runs("00", journal.entries())
        assert list(lines()) == ["00-a"]

    def test_a_published_one_needs_no_own_copy(self, used):
        publishing._store_runs("00", used)
        shutil.rmtree(config.runs_root())
        publishing._store_runs("00", used)
        assert list(lines()) == list(store.published_weights()) == ["00-a"]

    def of_another_day(self, used, date="2001-01-01 00:00"):
        """Publish the run as if it had been trained on another day."""
        found = store.record(used[0]["name"], used[0]["fingerprint"])
        found.facts["date"] = date
        store.publish("00", [found], ["00-a"], {})

    def test_a_run_trained_again_replaces_the_published_one(self, used):
        self.of_another_day(used)
        publishing._store_runs("00", used)
        assert lines()["00-a"]["date"] == used[0]["date"]

    def test_the_published_run_that_was_used_is_not_replaced_by_an_own_one(self, used):
        self.of_another_day(used)
        publishing._store_runs("00", [{**used[0], "date": "2001-01-01 00:00"}])
        assert lines()["00-a"]["date"] == "2001-01-01 00:00"

    def test_one_of_which_the_chapter_needs_only_numbers_goes_without_weights(self, splits):
        trained(splits, weights=False).score(splits.test)
        publishing._store_runs("00", journal.entries())
        assert "weights_sha256" not in lines()["00-a"]
        assert store.published_weights() == {}

    def test_one_cell_that_needs_weights_is_enough(self, splits):
        for weights in (True, False):
            trained(splits, weights=weights)
        publishing._store_runs("00", journal.entries())
        assert list(store.published_weights()) == ["00-a"]

    def test_one_with_other_settings_takes_its_place(self, used, splits):
        publishing._store_runs("00", used)
        journal.begin()
        run = trained(splits, epochs=2)
        publishing._store_runs("00", journal.entries())
        assert lines()["00-a"]["fingerprint"] == run.fingerprint

    def test_the_data_of_the_page_are_stored(self, used):
        journal.record("data", name="mnist", fingerprint="0a75392c08ed", source="MNIST")
        publishing._store_runs("00", journal.entries())
        assert runs.data_of_page("00") == {"mnist": "0a75392c08ed"}


class TestMeasurements:
    def whats(self):
        """What was measured on the published run."""
        return sorted(entry["what"] for entry in lines()["00-a"]["measured"].values())

    def test_those_that_the_page_made_are_shipped(self, splits):
        trained(splits).measure(brightest, splits.test)
        publishing._store_runs("00", journal.entries())
        assert self.whats() == ["brightest"]

    def test_those_that_the_page_makes_no_more_are_left_behind(self, splits):
        run = trained(splits)
        run.measure(brightest, splits.test)
        run.score(splits.test)
        journal.begin()
        trained(splits).measure(brightest, splits.test)
        publishing._store_runs("00", journal.entries())
        assert self.whats() == ["brightest"]

    def test_of_a_published_run_those_that_the_page_makes_no_more_are_left_behind(self, splits):
        run = trained(splits)
        run.measure(brightest, splits.test)
        run.score(splits.test)
        publishing._store_runs("00", journal.entries())
        assert self.whats() == ["_clipped_scores", "brightest"]
        shutil.rmtree(config.runs_root())
        journal.begin()
        trained(splits).measure(brightest, splits.test)
        publishing._store_runs("00", journal.entries())
        assert self.whats() == ["brightest"]

    def test_of_a_published_run_those_that_the_page_makes_anew_are_shipped(self, splits):
        """They lie in the author's own store, beside the published run."""
        trained(splits)
        publishing._store_runs("00", journal.entries())
        shutil.rmtree(config.runs_root())
        trained(splits).measure(brightest, splits.test)
        publishing._store_runs("00", journal.entries())
        assert self.whats() == ["brightest"]

    def test_those_on_one_run_do_not_keep_those_on_another(self, splits):
        trained(splits).measure(brightest, splits.test)
        journal.begin()
        trained(splits)
        trained(splits, name="00-b", seed=1).measure(brightest, splits.test)
        publishing._store_runs("00", journal.entries())
        assert self.whats() == []


def test_the_metadata_is_json(published):
    assert json.loads(published[0].read_text())["metadata"]["aecore"] == published[1]


class TestSmallerFigures:
    @staticmethod
    def as_png(image):
        out = io.BytesIO()
        image.save(out, "PNG", compress_level=1)
        return out.getvalue()

    @staticmethod
    def pixels(png):
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA")).astype(int)

    def test_a_drawing_is_much_smaller_and_looks_the_same(self):
        figure, axis = plt.subplots()
        axis.plot([0, 1, 0.2, 0.9], label="a line")
        axis.legend()
        out = io.BytesIO()
        figure.savefig(out, format="png", facecolor="white")
        smaller = publishing._smaller(out.getvalue())
        assert len(smaller) < 0.6 * len(out.getvalue())
        difference = np.abs(self.pixels(smaller) - self.pixels(out.getvalue()))
        assert difference.max() <= 16  # of 255, at the edges of lines
        assert difference.mean() < 0.1

    def test_a_photograph_keeps_every_pixel(self):
        noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
        png = self.as_png(Image.fromarray(noise).convert("RGBA"))
        smaller = publishing._smaller(png)
        assert len(smaller) < len(png)
        assert (self.pixels(smaller) == self.pixels(png)).all()

    def test_a_figure_that_lets_the_page_through_keeps_doing_so(self):
        glass = np.zeros((20, 20, 4), dtype=np.uint8)
        glass[5:, :, 3] = 128
        png = self.as_png(Image.fromarray(glass))
        assert (self.pixels(publishing._smaller(png)) == self.pixels(png)).all()
