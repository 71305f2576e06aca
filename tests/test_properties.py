"""Properties that hold for every input: of norms and projections, and of attacks as a whole."""

from dataclasses import replace
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn
from so_attack.attacks import FGSM, PGD, SecondOrder
from so_attack.norms import (
    NORMS,
    distance,
    dual_norm,
    gaussian,
    project,
    random_in_ball,
    sample_seeds,
    steepest,
)

settings.register_profile("calm", deadline=None, max_examples=40)
settings.load_profile("calm")
NORM, EPS, SEED = st.sampled_from(list(NORMS)), st.floats(0, 5), st.integers(0, 2**60)
SHAPE = st.sampled_from([(3,), (1, 4, 4), (3, 5, 2), (784,)])
SCALE = st.sampled_from([1e-30, 1e-3, 1.0, 1e3, 1e30])


@pytest.fixture(autouse=True)
def denormals():
    "Other tests of the same process may have switched them off, for speed."
    torch.set_flush_denormal(False)


def tensor(seed, shape, n=4):
    return gaussian(sample_seeds(n, torch.Generator().manual_seed(seed)), shape)


def images(seed, shape, n=4):
    return tensor(seed, shape, n).add(0.5).clamp(0, 1)  # many pixels at the edges of the box


@given(NORM, EPS, SEED, SHAPE, SCALE)
def test_projection(norm, eps, seed, shape, scale):
    x = images(seed, shape)
    p = project(x + scale * tensor(seed + 1, shape), x, eps, norm)
    assert p.min() >= 0 and p.max() <= 1  # in the box
    assert (distance(p.double(), x.double(), norm) <= eps * (1 + 1e-5) + 1e-6).all()  # in the ball
    torch.testing.assert_close(project(p, x, eps, norm), p, atol=1e-6, rtol=1e-5)  # idempotent
    inside = x + 0.5 * (p - x)
    stays = project(inside, x, eps, norm)  # an interior point
    torch.testing.assert_close(stays, inside, atol=1e-6, rtol=1e-5)


@given(NORM, SEED, SHAPE, SCALE)
def test_steepest_attains_the_dual_norm(norm, seed, shape, scale):
    g = scale * tensor(seed, shape)
    d = steepest(g, norm)
    torch.testing.assert_close(NORMS[norm].length(d), torch.ones(4), atol=1e-5, rtol=1e-5)
    gain = (g.double() * d.double()).flatten(1).sum(1)
    torch.testing.assert_close(gain, dual_norm(g.double(), norm), atol=0, rtol=1e-4)


@given(NORM, EPS, SEED, SHAPE)
def test_random_points_are_in_the_ball(norm, eps, seed, shape):
    seeds = sample_seeds(4, torch.Generator().manual_seed(seed))
    δ = random_in_ball(seeds, shape, eps, norm)
    assert (NORMS[norm].length(δ) <= eps * (1 + 1e-5)).all()
    torch.testing.assert_close(random_in_ball(seeds[1:3], shape, eps, norm), δ[1:3], atol=0, rtol=0)


def network(seed, shape, classes=3):
    torch.manual_seed(seed)
    first, last = nn.Linear(torch.Size(shape).numel(), 8), nn.Linear(8, classes)
    return nn.Sequential(nn.Flatten(), first, nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(), last)


def memory(model):
    "All that an attack must leave as it was: modes, gradients, weights and batch statistics."
    modes = [m.training for m in model.modules()]
    flags = [(p.requires_grad, p.grad) for p in model.parameters()]
    return modes, flags, {k: v.clone() for k, v in model.state_dict().items()}


def check_memory(before, after):
    assert before[:2] == after[:2] and before[2].keys() == after[2].keys()
    assert all(torch.equal(before[2][k], v) for k, v in after[2].items())


ATTACKS = [
    lambda n, e: FGSM(n, e),
    lambda n, e: PGD(n, e, 4, restarts=2, loss="margin"),
    lambda n, e: PGD(n, e, 4, momentum=0.7, early_stop=False),
    lambda n, e: SecondOrder(n, e, 3, samples=2, restarts=2),
    lambda n, e: replace(PGD.paper(n, e), steps=8),
    lambda n, e: replace(SecondOrder.paper(n, e), steps=5, samples=4),
]


@settings(max_examples=30)
@given(
    st.sampled_from(ATTACKS),
    NORM,
    st.floats(0, 1),
    st.integers(0, 1000),
    st.sampled_from([(3,), (1, 4, 4)]),
    st.sampled_from([torch.float32, torch.float64]),
)
@pytest.mark.filterwarnings("ignore:.*cannot reach the edge")
def test_attacks_keep_their_promises(make, norm, eps, seed, shape, dtype):
    model, x = network(seed, shape).to(dtype), images(seed, shape, 6).to(dtype)
    y, seeds, attack = torch.arange(6) % 3, sample_seeds(6), make(norm, eps)
    before = memory(model)
    found = attack.run(model, x, y, seeds)
    assert found.x_adv.shape == x.shape and found.x_adv.dtype == dtype and not found.x_adv.requires_grad
    assert (distance(found.x_adv, x, norm) <= eps * (1 + 1e-5) + 1e-6).all()
    assert found.x_adv.min() >= 0 and found.x_adv.max() <= 1
    assert found.finite.all() and (found.gradients <= attack.budget).all()
    check_memory(before, memory(model))
    one_by_one = torch.cat([attack(model, x[i : i + 1], y[i : i + 1], seeds[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(found.x_adv, one_by_one, atol=1e-4, rtol=0)


def test_attacks_run_under_no_grad_and_inference_mode():
    model, x, y = network(0, (3,)), images(0, (3,), 6), torch.arange(6) % 3
    attack = PGD("l2", 0.5, 3)
    plain = attack(model, x, y)
    with torch.no_grad():
        assert torch.equal(attack(model, x, y), plain)
    with torch.inference_mode():
        assert torch.equal(attack(model, x.clone(), y), plain)
