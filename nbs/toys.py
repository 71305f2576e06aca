"""What several notebooks use to try things out; no part of the library."""

import tempfile
from pathlib import Path
from types import SimpleNamespace
import pandas as pd
import torch
from torch import nn
from so_attack.classifier import seeded, with_normalization
from so_attack.data import mnist5k
from so_attack.training import new_network
from so_attack.admission import Case
from so_attack.recording import record


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


class Function(nn.Module):
    "A function as a module. What it calls can be a part of the module, as `net`."

    def __init__(self, f, net=None):
        super().__init__()
        self.f, self.net = f, net

    def forward(self, x):
        return self.f(x)


class Foreign(nn.Module):
    "Like a model of transformers: takes `pixel_values`, returns an object, has a `config` with these fields."

    def __init__(self, net, **config):
        super().__init__()
        self.net, self.config = net, SimpleNamespace(**config)

    def forward(self, pixel_values):
        return SimpleNamespace(logits=self.net(pixel_values))


def linear_net():
    "A linear network, ten steps of training old, right about 82 % of the digits; seeds torch with 0."
    torch.manual_seed(0)
    net, data = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), mnist5k("train")
    opt = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(10):
        opt.zero_grad()
        nn.functional.cross_entropy(net(data.x), data.y).backward()
        opt.step()
    return net


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


# What the rooms of the audit try out: a network, its faults, and tables of verdicts.


class Fault(nn.Module):
    "A network with something done before it, or after it."

    def __init__(self, net, before=lambda x: x, after=lambda z: z):
        super().__init__()
        self.net, self.before, self.after = net, before, after

    def forward(self, x):
        return self.after(self.net(self.before(x)))


def verdict_rows(threat, attack, verdicts, **columns):
    "Rows of a ledger by hand: 1, 0 or 'invalid' for each image; nothing odd in columns that are not given."
    words = [{1: "robust", 0: "fooled"}.get(v, v) for v in verdicts]
    rows = {"sample": range(len(words)), "threat": threat, "attack": attack, "verdict": words}
    usual = {"slope": 1.0, "margin": 3.0, "distance": 1.0, "rounded": True, "repeat": True, "outside": False}
    return pd.DataFrame(rows | usual | columns)


def attacked(model, x, y, plan):
    "The record of an attack on these images, from a folder that is gone afterwards."
    case = Case(model, x, y, plan, torch.device("cpu"), classes=10)
    with tempfile.TemporaryDirectory() as folder:
        return record(case, Path(folder), progress=False)


def curved_net():
    "A small network in double precision, for images of 1×4×4, whose loss is far from linear."
    with seeded(0):
        net = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(16, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)
        ).double()
    for weights in net.parameters():
        weights.data *= 4
    return net


class Knows(nn.Module):
    "Right about these images only, once `before` is applied."

    def __init__(self, known, labels, before=lambda x: x):
        super().__init__()
        self.known, self.labels, self.before = known.flatten(1).double(), labels, before

    def forward(self, x):
        x = self.before(x).flatten(1).double()
        gap, which = torch.cdist(x, self.known, compute_mode="donot_use_mm_for_euclid_dist").min(1)
        strange = gap > 0.01 * self.known[which].norm(dim=1)
        return nn.functional.one_hot((self.labels[which] + strange) % 10, 10).float() * 3


def advised(check, model, x):
    "The model and the images that the code of a check would audit."
    names = {"with_normalization": with_normalization, "model": model, "x": x, "y": None, "threats": None}
    return eval(check.code, names | {"audit": lambda model, x, y, threats: (model, x)})


class Slices:
    "Images on disk, say: they have a shape, and slices."

    def __init__(self, x):
        self.x, self.shape, self.asked = x, x.shape, []

    def __len__(self):
        return len(self.x)

    def __getitem__(self, part):
        self.asked.append((part.start, part.stop))
        return self.x[part]
