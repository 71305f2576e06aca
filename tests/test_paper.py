"""The paper's effect, on the official TRADES network and on the shipped Madry ℓ∞ network.

The slow tests take the first 1,000 test images, the others ten or a few more.
"""

import json
from dataclasses import replace
import pytest
import torch
import torch.nn.functional as F
from so_attack.data import mnist, mnist5k
from so_attack.attacks import PGD, SecondOrder
from so_attack.evaluation import evaluate
from so_attack.models import load_model, model_names, zoo_manifest
from so_attack.columns import repo_results

# the paper's numbers, in percent, and what another choice of images or another processor may change
TRADES = {
    "natural": (99, 100),
    "pgd-l2": (90, 93),
    "so-l2": (0, 6),
    "pgd-linf": (95, 97.5),
    "so-linf": (91, 96),
}


def published(name, n, last) -> dict:
    """Robust accuracy on the first n test images under the published settings.

    PGD's last iterate is scored; S-O's too if `last`. Otherwise an image counts as fooled at any iterate
    of S-O: that never leaves more images robust, and it is cheaper.
    """
    data, balls = mnist("test")[:n], (("l2", 4.0), ("linf", 0.3))
    pgd = [PGD.paper(*ball) for ball in balls]
    so = [replace(SecondOrder.paper(*ball), early_stop=not last) for ball in balls]
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
    """The two PGD rows are at their lower edges here: 89.1 and 94.3.

    The published program, written out plainly, gives the same numbers. The first thousands are harder than
    the last: our madry-linf keeps 66 to 69 % in each of the first five, 74 to 83 % in the others.
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
    """Official TRADES, ℓ2, ε = 2.

    The defaults leave no more images robust than AutoAttack's stored verdicts, and a single restart of 100
    gradients leaves fewer than the published 800 gradients.
    """
    stored = json.loads((repo_results() / "autoattack.json").read_text())
    theirs = stored["trades-linf-official | l2:2"]["robust"]
    data, model = mnist("test")[: len(theirs)], load_model("trades-linf-official")
    attacks = {"defaults": SecondOrder("l2", 2.0), "one restart": SecondOrder("l2", 2.0, restarts=1)}
    ours = evaluate(model, attacks, data.x, data.y, progress=False)
    few, paper = data[:100], replace(SecondOrder.paper("l2", 2.0), early_stop=True)
    published = evaluate(model, {"published": paper}, few.x, few.y, progress=False)
    print(ours.table().round(1), published.table().round(1), sep="\n")
    print(f"AutoAttack leaves {theirs.count('1')} of {len(theirs)}")
    assert ours.accuracy("defaults").robust <= theirs.count("1")
    assert ours.of("one restart")[:100].count("robust") < published.accuracy("published").robust
    assert max(ours.frame[ours.frame.attack == "one restart"].gradients) <= 200


def length(v):
    return v.square().sum((1, 2, 3), keepdim=True).sqrt()


def plain_pgd(model, x, y, norm, eps, steps=40):
    """The published PGD, as plainly as it can be written.

    Mean cross-entropy of the batch, one restart, last iterate; the ℓ2 version clips once, at the end.
    """
    x_t = x
    for _ in range(steps):
        x_t = x_t.detach().requires_grad_()
        (g,) = torch.autograd.grad(F.cross_entropy(model(x_t), y), x_t)
        if norm == "linf":
            x_t = (x + (x_t + 0.01 * g.sign() - x).clamp(-eps, eps)).clamp(0, 1)
        else:
            δ = x_t + 2.5 * eps / steps * g / length(g).clamp_min(1e-8) - x
            x_t = x + δ * (eps / length(δ).clamp_min(1e-12)).clamp_max(1)
    return x_t.detach().clamp(0, 1)


@pytest.mark.needs("SO_ATTACK_DATA")
@pytest.mark.needs("SO_ATTACK_HOME")
def test_pgd_paper_is_the_published_program():
    "Nearly the same verdicts, image by image (near a vanished gradient the two round differently)."
    model, data = load_model("trades-linf-official"), mnist("test")[:25]
    for norm, eps in (("l2", 4.0), ("linf", 0.3)):
        ours = PGD.paper(norm, eps)(model, data.x, data.y)
        theirs = plain_pgd(model, data.x, data.y, norm, eps)
        right, also = (model(x).argmax(1) == data.y for x in (ours, theirs))
        assert (right != also).sum() <= 1, norm


@pytest.mark.needs("SO_ATTACK_DATA")
@pytest.mark.needs("SO_ATTACK_HOME")
def test_official_trades_10():
    "With ten images, whose intervals are wider."
    measured = published("trades-linf-official", 10, last=False)
    check(measured)
    assert measured["pgd-l2"].accuracy - measured["so-l2"].accuracy > 0.7


def test_shipped_madry_linf():
    "The shipped network, on twelve embedded images it has not seen: robust in ℓ2 under PGD, not under S-O."
    if "madry-linf" not in model_names():
        pytest.skip("the zoo is not at hand")
    data, model = mnist5k("test")[:12], load_model("madry-linf")

    def robust(attack):
        v = evaluate(model, {"attack": attack}, data.x, data.y, progress=False)
        return 100 * v.accuracy("attack").accuracy

    pgd = {eps: robust(PGD.paper("l2", eps)) for eps in (4.0, 2.0)}
    so = {eps: robust(replace(SecondOrder.paper("l2", eps), early_stop=True)) for eps in (4.0, 2.0)}
    assert pgd[4.0] > 50 and pgd[2.0] > 75, pgd
    assert so[4.0] == 0 and so[2.0] < 30, so


def test_the_manifest_shows_the_effect():
    "What was measured on MNIST's test set when the network was shipped."
    if "madry-linf" not in zoo_manifest():
        pytest.skip("the zoo is not at hand")
    stored = {row: r["accuracy"] for row, r in zoo_manifest()["madry-linf"]["judged"]["accuracies"].items()}
    assert stored["natural"] >= 98.5 and stored["pgd-linf@0.3"] >= 92 and stored["pgd-l2@2"] >= 80
    assert stored["so-l2@4"] <= 1 and stored["so-l2@2"] <= 20 and stored["pgd-l2@4"] >= 70
