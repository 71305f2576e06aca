"""The paper's effect, on the official TRADES network and on the shipped Madry ℓ∞ network: the first 1,000 test images (slow), and the first ten every time."""

import json
from dataclasses import replace
import pytest
import torch
import torch.nn.functional as F
from so_attack.attacks import PGD, SecondOrder
from so_attack.data import mnist, mnist5k
from so_attack.evaluation import evaluate
from so_attack.experiments import repo_results
from so_attack.models import load_model, model_names, zoo_manifest

TRADES = {
    "natural": (99, 100),
    "pgd-l2": (90, 93),
    "so-l2": (0, 6),
    "pgd-linf": (95, 97.5),
    "so-linf": (91, 96),
}


def published(name, n, last) -> dict:
    """What is left of the first n test images under the published settings, PGD's last iterate scored; S-O's too if `last`,
    otherwise an image counts as fooled at whichever iterate it is: never more are left, and it is cheaper."""
    data = mnist("test")[:n]
    pgd, so = ([A.paper(*t) for t in (("l2", 4.0), ("linf", 0.3))] for A in (PGD, SecondOrder))
    so = [replace(a, early_stop=not last) for a in so]
    parts = [evaluate(load_model(name), a, data.x, data.y, progress=False) for a in (pgd, so)]
    return {row: v.accuracy(row) for v in parts for row in v.names}


def check(measured):
    "The range of each row must meet our 95 % interval."
    print({row: str(e) for row, e in measured.items()})
    for row, (low, high) in TRADES.items():
        assert 100 * measured[row].low <= high and low <= 100 * measured[row].high, (row, str(measured[row]))


@pytest.mark.slow
@pytest.mark.needs("SO_ATTACK_DATA")
@pytest.mark.needs("SO_ATTACK_HOME")
def test_official_trades_1000():
    """The two PGD rows are at their lower edges here (89.1 and 94.3, where the published program, written out plainly, gives the very same): the first thousands are harder than the last
    (our madry-linf keeps 66 to 69 % in each of the first five, 74 to 83 % in the others).
    """
    measured = published("trades-linf-official", 1000, last=False)
    check(measured)
    assert measured["so-l2"].accuracy <= 0.06


@pytest.mark.slow
@pytest.mark.needs("SO_ATTACK_DATA")
@pytest.mark.needs("SO_ATTACK_HOME")
def test_official_trades_as_published():
    "S-O's last iterate, as the paper scores it."
    check(published("trades-linf-official", 100, last=True))


@pytest.mark.slow
@pytest.mark.needs("SO_ATTACK_DATA")
@pytest.mark.needs("SO_ATTACK_HOME")
def test_second_order_against_autoattack_and_the_published_attack():
    "Official TRADES, ℓ2, ε = 2: the defaults leave no more than AutoAttack's stored verdicts, and 100 gradients leave less than the published 800."
    theirs = json.loads((repo_results() / "autoattack.json").read_text())["trades-linf-official | l2:2"][
        "robust"
    ]
    data, model = mnist("test")[: len(theirs)], load_model("trades-linf-official")
    ours = evaluate(
        model,
        {"defaults": SecondOrder("l2", 2.0), "one attempt": SecondOrder("l2", 2.0, restarts=1)},
        data.x,
        data.y,
        progress=False,
    )
    few = evaluate(
        model,
        {"published": replace(SecondOrder.paper("l2", 2.0), early_stop=True)},
        data.x[:100],
        data.y[:100],
        progress=False,
    )
    print(
        ours.table().round(1),
        few.table().round(1),
        f"AutoAttack leaves {theirs.count('1')} of {len(theirs)}",
        sep="\n",
    )
    assert ours.accuracy("defaults").robust <= theirs.count("1")
    assert (
        ours.of("one attempt")[:100].count("robust") < few.accuracy("published").robust
        and max(ours.frame[ours.frame.attack == "one attempt"].gradients) <= 200
    )


def plain_pgd(model, x, y, norm, eps, steps=40):
    "The published PGD, as plainly as it can be written: mean cross-entropy of the batch, no restart, last iterate; the ℓ2 version clips once, at the end."
    x_t = x
    for _ in range(steps):
        x_t = x_t.detach().requires_grad_()
        (g,) = torch.autograd.grad(F.cross_entropy(model(x_t), y), x_t)
        if norm == "linf":
            x_t = (x + (x_t + 0.01 * g.sign() - x).clamp(-eps, eps)).clamp(0, 1)
        else:
            length = lambda v: v.square().sum((1, 2, 3), keepdim=True).sqrt()
            δ = x_t + 2.5 * eps / steps * g / length(g).clamp_min(1e-8) - x
            x_t = x + δ * (eps / length(δ).clamp_min(1e-12)).clamp_max(1)
    return x_t.detach().clamp(0, 1)


@pytest.mark.needs("SO_ATTACK_DATA")
@pytest.mark.needs("SO_ATTACK_HOME")
def test_pgd_paper_is_the_published_program():
    "Nearly the same verdicts, image by image (near a vanished gradient the two round differently)."
    model, data = load_model("trades-linf-official"), mnist("test")[:25]
    for norm, eps in (("l2", 4.0), ("linf", 0.3)):
        a, b = (
            model(x).argmax(1) == data.y
            for x in (
                PGD.paper(norm, eps)(model, data.x, data.y),
                plain_pgd(model, data.x, data.y, norm, eps),
            )
        )
        assert (a != b).sum() <= 1, (norm, (a != b).sum())


@pytest.mark.needs("SO_ATTACK_DATA")
@pytest.mark.needs("SO_ATTACK_HOME")
def test_official_trades_10():
    "With ten images, whose intervals are wider."
    measured = published("trades-linf-official", 10, last=False)
    check(measured)
    assert measured["pgd-l2"].accuracy - measured["so-l2"].accuracy > 0.7


def test_shipped_madry_linf():
    "The shipped network, on twelve embedded images it has not seen: PGD calls it robust in ℓ2, and S-O empties it."
    if "madry-linf" not in model_names():
        pytest.skip("the zoo is not at hand")
    data, model = mnist5k("test")[:12], load_model("madry-linf")
    attacks = {
        f"{a.name}@{a.eps:g}": a
        for t in (("l2", 4.0), ("l2", 2.0))
        for a in (PGD.paper(*t), replace(SecondOrder.paper(*t), early_stop=True))
    }
    left = {
        name: 100 * evaluate(model, {name: a}, data.x, data.y, progress=False).accuracy(name).accuracy
        for name, a in attacks.items()
    }
    assert (
        left["so-l2@4"] == 0 and left["pgd-l2@4"] > 50 and left["pgd-l2@2"] > 75 and left["so-l2@2"] < 30
    ), left


def test_the_manifest_shows_the_effect():
    "What was measured on MNIST's test set when the network was shipped."
    if "madry-linf" not in zoo_manifest():
        pytest.skip("the zoo is not at hand")
    stored = {row: r["accuracy"] for row, r in zoo_manifest()["madry-linf"]["judged"]["accuracies"].items()}
    assert stored["natural"] >= 98.5 and stored["pgd-linf@0.3"] >= 92 and stored["pgd-l2@2"] >= 80
    assert stored["so-l2@4"] <= 1 and stored["so-l2@2"] <= 20 and stored["pgd-l2@4"] >= 70
