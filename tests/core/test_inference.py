"""`inference`: a model is used and left as it was."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from aecore import inference
from aecore.models import LinearAutoencoder


class TestEvalMode:
    def test_switches_every_layer_of_every_model_to_evaluation(self):
        models = nn.Sequential(nn.Dropout(0.5)), nn.Sequential(nn.Flatten())
        with inference.eval_mode(*models):
            assert not any(layer.training for model in models for layer in model.modules())

    def test_leaves_each_layer_in_the_mode_that_it_had(self):
        model = nn.Sequential(nn.Dropout(0.5), nn.Flatten())
        model[0].eval()
        with inference.eval_mode(model):
            pass
        assert [layer.training for layer in model] == [False, True]

    def test_does_so_after_an_error_as_well(self):
        model = nn.Dropout(0.5)
        with pytest.raises(RuntimeError, match="stop"), inference.eval_mode(model):
            raise RuntimeError("stop")
        assert model.training

    def test_leaves_functions_alone(self):
        with inference.eval_mode(abs):
            pass


class TestModelOf:
    def test_of_a_run_is_its_model(self):
        model = nn.Flatten()
        assert inference.model_of(SimpleNamespace(model=model)) is model

    def test_of_a_model_is_the_model_even_where_a_part_of_it_is_called_so(self):
        model = nn.Sequential()
        model.add_module("model", nn.Flatten())
        assert inference.model_of(model) is model

    def test_of_a_function_is_the_function(self):
        assert inference.model_of(abs) is abs

    @pytest.mark.parametrize("what", [None, "linear", 3, SimpleNamespace(model=3)])
    def test_of_anything_else_is_an_error(self, what):
        with pytest.raises(TypeError, match="model: wanted a model, a run or a function, got"):
            inference.model_of(what)


class TestApply:
    def test_gives_what_the_model_gives_batch_by_batch(self):
        sizes = []

        def model(x):
            sizes.append(len(x))
            return x + 1

        x = torch.rand(7, 3)
        assert torch.equal(inference.apply(model, x, batch_size=3), x + 1)
        assert sizes == [3, 3, 1]

    def test_works_in_evaluation_and_leaves_the_mode(self):
        model, x = nn.Dropout(0.5).train(), torch.rand(4, 3)
        assert torch.equal(inference.apply(model, x), x)
        assert model.training

    def test_of_a_method_switches_its_model_to_evaluation(self):
        model = nn.Sequential(nn.Dropout(0.5))
        assert torch.equal(inference.apply(model.forward, torch.ones(4, 3)), torch.ones(4, 3))

    def test_keeps_no_gradient(self):
        assert not inference.apply(nn.Linear(3, 2), torch.rand(4, 3)).requires_grad

    @pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
    def test_gives_float32(self, dtype):
        assert inference.apply(lambda x: x.to(dtype), torch.rand(4, 3)).dtype == torch.float32

    @pytest.mark.parametrize("size", [0, -1, 1.5, None])
    def test_another_batch_size_is_refused(self, size):
        with pytest.raises(ValueError, match=f"batch_size: wanted a whole number from 1, got {size}"):
            inference.apply(abs, torch.rand(4, 3), batch_size=size)

    def test_a_model_that_writes_into_what_it_is_given_is_refused(self):
        """Else the pictures above and below each other would both be the changed one."""
        with pytest.raises(ValueError, match="model: ReLU: it writes into the images that it is given"):
            inference.apply(nn.ReLU(inplace=True), torch.rand(4, 3))

    def test_a_model_that_gives_no_tensor_is_refused(self):
        with pytest.raises(TypeError, match="model: wanted it to give a tensor for a batch of images, got list"):
            inference.apply(lambda x: [x], torch.rand(4, 3))


def test_a_model_lies_where_its_weights_do_and_a_function_on_the_cpu():
    assert inference.device_of(LinearAutoencoder((1, 4, 4), 2)).type == "cpu"
    assert inference.device_of(nn.Linear(2, 2, device="meta")).type == "meta"
    assert inference.device_of(abs).type == "cpu"
