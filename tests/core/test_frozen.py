"""`models.frozen`: a network that is used and not trained, as a whole or as a part of a model that is."""

import copy

import pytest
import torch
from torch import nn

import aecore as ae
from aecore.data import Images, Splits
from aecore.models import Frozen, LinearAutoencoder, ResidualClassifier, freeze, init_weights, unfreeze
from aecore.models.frozen import train_mode
from aecore.objectives import Classification
from aecore.runs import NoWeights, WeightsNotPublished
from aecore.training import Plan

PLAN = Plan(epochs=1, batch_size=8)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return ResidualClassifier((1, 4, 4), 2, width=2)


@pytest.fixture
def run(splits):
    return ae.fit(LinearAutoencoder((1, 4, 4), 2), splits, PLAN)


class TestFrozen:
    def test_gives_what_the_network_gives(self, network):
        x = torch.rand(3, 1, 4, 4)
        assert torch.equal(Frozen(network)(x), network.eval()(x))

    def test_offers_what_the_network_offers(self, network):
        x = torch.rand(3, 1, 4, 4)
        assert torch.equal(Frozen(network).features(x)[0], network.eval().features(x)[0])

    def test_has_the_networks_attributes(self, network):
        assert Frozen(network).image_shape == (1, 4, 4)

    def test_has_no_others(self, network):
        with pytest.raises(AttributeError, match="'ResidualClassifier' object has no attribute 'colour'"):
            _ = Frozen(network).colour

    def test_its_weights_get_no_gradient(self, network):
        assert not any(weight.requires_grad for weight in Frozen(network).parameters())

    def test_a_gradient_goes_through_it(self, network):
        x = torch.rand(3, 1, 4, 4, requires_grad=True)
        Frozen(network)(x).square().sum().backward()
        assert x.grad.count_nonzero()

    def test_stays_in_evaluation_inside_a_model_that_is_trained(self, network):
        model = nn.Sequential(Frozen(network), nn.Dropout()).train()
        assert [model[1].training, any(layer.training for layer in model[0].modules())] == [True, False]

    def test_normalises_without_a_change_to_its_statistics(self, network):
        frozen = Frozen(network)
        before = copy.deepcopy(frozen.state_dict())
        frozen.train()(torch.rand(8, 1, 4, 4))
        assert all(torch.equal(value, before[name]) for name, value in frozen.state_dict().items())

    def test_leaves_the_network_itself_as_it_is(self, network):
        """The same call of fit must train, and find, the same run after its model was frozen as before."""
        network.train()
        Frozen(network)
        assert all(weight.requires_grad for weight in network.parameters())
        assert all(layer.training for layer in network.modules())

    def test_is_not_changed_when_the_network_is_trained_on(self, network):
        frozen, x = Frozen(network), torch.rand(3, 1, 4, 4)
        before = frozen(x)
        with torch.no_grad():
            next(network.parameters()).add_(1)
        assert torch.equal(frozen(x), before)

    def test_goes_where_the_model_goes(self, network):
        moved = nn.Sequential(Frozen(network)).to("meta").state_dict().values()
        assert {value.device.type for value in moved} == {"meta"}

    def test_keeps_its_weights_when_those_of_the_model_around_it_are_drawn(self, network):
        model = nn.Sequential(Frozen(network), nn.Linear(2, 2))
        init_weights(model, 3)
        assert torch.equal(
            model[0].features(torch.ones(1, 1, 4, 4))[0], network.eval().features(torch.ones(1, 1, 4, 4))[0]
        )

    def test_without_weights_is_no_hindrance_to_drawing_the_others(self, network, run):
        run.model = NoWeights("00-a")
        model = nn.Sequential(Frozen(run), nn.Linear(2, 2))
        init_weights(model, 3)
        weight = model[1].weight.clone()
        init_weights(model, 4)
        assert not torch.equal(model[1].weight, weight)

    def test_can_be_copied(self, network):
        x = torch.rand(3, 1, 4, 4)
        frozen = Frozen(network)
        assert torch.equal(copy.deepcopy(frozen)(x), frozen(x))

    def test_has_no_attribute_before_it_has_a_network(self):
        """As long as it is being made or unpacked; looked for in a network that is not there, it would have no end."""
        with pytest.raises(AttributeError, match="has no attribute 'network'"):
            _ = Frozen.__new__(Frozen).encode

    def test_of_a_network_has_no_fingerprint(self, network):
        assert Frozen(network).fingerprint is None

    def test_of_a_run_has_its_fingerprint(self, run):
        assert Frozen(run).fingerprint == run.fingerprint

    def test_of_a_frozen_run_has_it_too(self, run):
        assert Frozen(Frozen(run)).fingerprint == run.fingerprint

    def test_of_a_run_holds_its_weights(self, run):
        assert torch.equal(Frozen(run).encoder[1].weight, run.model.encoder[1].weight)

    def test_of_a_run_without_weights_says_so_when_it_is_used(self, run):
        run.model = NoWeights("07-net")
        frozen = Frozen(run)
        for use in (lambda: frozen(torch.rand(1, 1, 4, 4)), lambda: frozen.encode(torch.rand(1, 1, 4, 4))):
            with pytest.raises(WeightsNotPublished, match="'07-net'"):
                use()

    @pytest.mark.parametrize("source", [None, "07-net", nn.Linear])
    def test_of_something_else_is_refused(self, source):
        with pytest.raises(TypeError, match="source: wanted a run or a network, got (NoneType|str|type)"):
            Frozen(source)

    def test_of_a_run_whose_model_was_trained_again_is_refused(self, run, splits):
        ae.fit(run.model, splits, PLAN.replace(seed=1))
        with pytest.raises(ValueError, match="source: the model of run None was trained again since"):
            Frozen(run)


class TestPartsOfAModel:
    def test_freeze_switches_gradients_off_and_unfreeze_on(self, network):
        found = [all(w.requires_grad for w in change(network).parameters()) for change in (freeze, unfreeze)]
        assert found == [False, True]

    def test_a_frozen_part_is_in_evaluation_while_the_rest_trains(self, network):
        freeze(network.encoder)
        train_mode(network)
        found = [any(layer.training for layer in part.modules()) for part in (network.encoder, network.head)]
        assert found == [False, True]

    def test_a_normalisation_without_weights_is_in_evaluation_inside_a_frozen_part(self):
        encoder = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, affine=False))
        model = nn.Sequential(freeze(encoder), nn.Linear(2, 2))
        train_mode(model)
        assert not model[0][1].training

    def test_a_layer_without_weights_trains_outside_one(self):
        model = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
        train_mode(model)
        assert model[1].training

    def test_a_part_with_one_weight_to_train_trains(self):
        model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
        freeze(model[0])
        train_mode(model)
        assert [model.training, model[0].training, model[1].training] == [True, False, True]

    @pytest.fixture
    def labelled(self, splits):
        parts = (splits.train, splits.valid, splits.test)
        return Splits(*(Images(part.pixels, torch.arange(len(part)) % 2) for part in parts))

    def test_training_changes_nothing_of_a_frozen_part(self, network, labelled):
        freeze(network.encoder)
        before = copy.deepcopy(network.encoder.state_dict())
        ae.fit(network, labelled, PLAN, objective=Classification(), init_from="model")
        assert all(torch.equal(value, before[name]) for name, value in network.encoder.state_dict().items())

    def test_training_changes_the_rest(self, network, labelled):
        freeze(network.encoder)
        before = copy.deepcopy(network.head.state_dict())
        ae.fit(network, labelled, PLAN, objective=Classification(), init_from="model")
        assert not any(torch.equal(value, before[name]) for name, value in network.head.state_dict().items())
