"""What several notebooks use to try things out; no part of the library."""

from pathlib import Path
import torch
from so_attack.classifier import seeded
from so_attack.data import mnist5k
from so_attack.training import new_network


def refused(call, *args, kind=ValueError, says="", **kw):
    "The exception that a call ends in; AssertionError where it is not of this kind, or does not say this."
    try:
        call(*args, **kw)
    except kind as e:
        assert says in str(e), f"{says!r} is not in {str(e)!r}"
        return e
    raise AssertionError("nothing was raised")


class Trap:
    "Where this is unpickled, a file appears."

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def toy_net(seed):
    "A small network without convolutions, ten steps of training old."
    net, data = new_network("NetD", seed).eval(), mnist5k("train")[:128]
    opt = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(10):
        opt.zero_grad()
        torch.nn.functional.cross_entropy(net(data.x), data.y).backward()
        opt.step()
    return net


class Recorder(torch.nn.Module):
    "A network that keeps copies of what it was asked."

    def __init__(self, net):
        super().__init__()
        self.net, self.asked = net, []

    def forward(self, x):
        self.asked.append(x.detach().clone())
        return self.net(x)


def curved_net():
    "A small network in double precision, for images of 1×4×4, whose loss is far from linear."
    with seeded(0):
        net = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(16, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)
        ).double()
    for weights in net.parameters():
        weights.data *= 4
    return net
