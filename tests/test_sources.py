"Models of transformers and timm as their own libraries evaluate them. Built here with random weights, nothing is downloaded."

import json
import numpy as np
import pytest
import torch
from PIL import Image
from so_attack.models import ModelMissing
from so_attack.hub import from_transformers
from so_attack.sources import load_data, load_spec

pytestmark = pytest.mark.slow  # these libraries are extras, there when the slow tests run
SIDE = {"height": 32, "width": 32}


@pytest.fixture(scope="module")
def transformers():
    found = pytest.importorskip("transformers")
    found.logging.set_verbosity_error()
    found.logging.disable_progress_bar()
    return found


def vit(transformers, channels=3, **config):
    torch.manual_seed(0)
    sizes = {
        "image_size": 32,
        "patch_size": 8,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    return transformers.ViTForImageClassification(
        transformers.ViTConfig(**sizes, num_channels=channels, **({"num_labels": 4} | config))
    ).eval()


def pictures(folder, names, size=(32, 32), mode="RGB"):
    "A folder with one random image for each name."
    numbers = np.random.default_rng(sum(size))
    for name in names:
        (folder / name).mkdir(parents=True)
        Image.fromarray(numbers.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).convert(mode).save(
            folder / name / "0.png"
        )
    return str(folder)


PROCESSORS = {
    "plain": ("ViT", {"size": SIDE}),
    "ImageNet's": (
        "ViT",
        {"size": SIDE, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
    ),
    "no normalisation": ("ViT", {"size": SIDE, "do_normalize": False}),
    "no rescaling": ("ViT", {"size": SIDE, "do_rescale": False}),
    "neither": ("ViT", {"size": SIDE, "do_rescale": False, "do_normalize": False}),
    "twice the usual": (
        "ViT",
        {"size": SIDE, "rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3},
    ),
    "bytes": (
        "ViT",
        {"size": SIDE, "rescale_factor": 1.0, "image_mean": [127.5] * 3, "image_std": [127.5] * 3},
    ),
    "BGR": ("MobileViT", {"size": {"shortest_edge": 36}, "crop_size": SIDE}),
    "divided twice": ("EfficientNet", {"size": SIDE}),
    "offset": (
        "EfficientNet",
        {"size": SIDE, "rescale_offset": True, "rescale_factor": 1 / 127.5, "include_top": False},
    ),
    "crop_pct": ("ConvNext", {"size": {"shortest_edge": 32}}),
    "shorter side": ("CLIP", {"size": {"shortest_edge": 32}, "crop_size": SIDE}),
}


@pytest.mark.parametrize("kind", PROCESSORS)
def test_what_the_processor_does(transformers, tmp_path, kind):
    "Of any size, an image in a folder gets the logits that model and processor give it."
    name, fields = PROCESSORS[kind]
    net = vit(transformers)
    net.save_pretrained(tmp_path / "net")
    getattr(transformers, f"{name}ImageProcessor")(**fields).save_pretrained(tmp_path / "net")
    models = [
        (
            load_spec(f"hf:{tmp_path / 'net'}"),
            transformers.AutoImageProcessor.from_pretrained(tmp_path / "net"),
        )
    ]
    if slow := getattr(transformers, f"{name}ImageProcessorPil", None):
        models.append((from_transformers(net, processor=slow(**fields)), slow(**fields)))
    for i, size in enumerate([(32, 32), (50, 40), (20, 64)]):
        where = pictures(tmp_path / f"{i}", "0", size)
        for model, processor in models:
            data = load_data(where, model=model)
            with torch.no_grad():
                theirs = net(
                    processor(Image.open(data.x.files[0]), return_tensors="pt")["pixel_values"]
                ).logits
                torch.testing.assert_close(model(data.x[:1]), theirs, rtol=1e-4, atol=1e-5)
            assert "own evaluation" in data.x.notes[1] and not model.notes


def test_one_channel(transformers, tmp_path):
    vit(transformers, 1).save_pretrained(tmp_path / "net")
    transformers.ViTImageProcessor(size=SIDE, image_mean=[0.5], image_std=[0.25]).save_pretrained(
        tmp_path / "net"
    )
    model, x = load_spec(f"hf:{tmp_path / 'net'}"), torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(x), model.model.model((x - 0.5) / 0.25).logits)
    assert load_data(pictures(tmp_path / "gray", "01", mode="L"), model=model).x.shape == (2, 1, 32, 32)
    with pytest.raises(ValueError, match="one channel and the folder has images in colour"):
        load_data(pictures(tmp_path / "colour", "01"), model=model)
    transformers.ViTImageProcessor(size=SIDE).save_pretrained(tmp_path / "net")
    with pytest.raises(ValueError, match="cannot take images of 1 channel .*file.py:factory"):
        load_spec(f"hf:{tmp_path / 'net'}")


def test_without_a_processor(transformers, tmp_path):
    "No normalisation, and the model says so; a processor that cannot be read is not taken for none."
    net = vit(transformers)
    net.save_pretrained(tmp_path / "net")
    model, x = load_spec(f"hf:{tmp_path / 'net'}"), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(x), net(x).logits)
    assert "no image processor" in model.notes[0] and model.labels is None
    (tmp_path / "net" / "preprocessor_config.json").write_text("{")
    with pytest.raises(ModelMissing, match="could not load"):
        load_spec(f"hf:{tmp_path / 'net'}")


def test_labels_of_transformers(transformers, tmp_path):
    names = {0: "tabby, tabby cat", 1: "dog", 2: "Egyptian_cat", 3: "hen"}
    vit(transformers, id2label=names, label2id={v: k for k, v in names.items()}).save_pretrained(
        tmp_path / "net"
    )
    transformers.ViTImageProcessor(size=SIDE).save_pretrained(tmp_path / "net")
    model = load_spec(f"hf:{tmp_path / 'net'}")
    data = load_data(pictures(tmp_path / "pets", ["egyptian cat", "Tabby", "DOG"]), size=16, model=model)
    assert {f.parent.name: k for f, k in zip(data.x.files, data.y.tolist())} == {
        "egyptian cat": 2,
        "Tabby": 0,
        "DOG": 1,
    }
    assert (
        data.x.classes == list(names.values())
        and data.x.shape == (3, 3, 16, 16)
        and "does otherwise" in data.x.notes[1]
    )
    with pytest.raises(ValueError, match="the folder fish has none of the names"):
        load_data(pictures(tmp_path / "more", ["hen", "fish"]), model=model)


CODE = """
from transformers import ViTConfig, ViTForImageClassification
from pathlib import Path
Path(__file__).with_name("ran").touch()
class Config(ViTConfig): model_type = "mine"
class Model(ViTForImageClassification): config_class = Config
"""


def test_code_of_others(transformers, tmp_path):
    "It is run when that is said in words, and not by a SPEC."
    vit(transformers).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {
        "auto_map": {
            "AutoConfig": "code_of_mine.Config",
            "AutoModelForImageClassification": "code_of_mine.Model",
        },
        "model_type": "mine",
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "code_of_mine.py").write_text(CODE)
    for spec in (
        f"hf:{tmp_path}",
        f"hf:{tmp_path},trust_remote_code=true",
        f"hf:{tmp_path},trust_remote_code=false",
    ):
        with pytest.raises(ValueError, match="--trust-remote-code"):
            load_spec(spec)
    assert type(load_spec(f"hf:{tmp_path}", trust_remote_code=True).model.model).__name__ == "Model"


TEN = {
    "n01440764": 0,
    "n02102040": 217,
    "n02979186": 482,
    "n03000684": 491,
    "n03028079": 497,
    "n03394916": 566,
    "n03417042": 569,
    "n03425413": 571,
    "n03445777": 574,
    "n03888257": 701,
}


@pytest.mark.filterwarnings("default")
def test_ten_of_a_thousand(tmp_path):
    "A folder like Imagenette's has ten of ImageNet's classes, by synset or by word; its images are evaluated as timm does."
    timm = pytest.importorskip("timm")
    model = load_spec("timm:resnet10t,pretrained=false")
    data = load_data(pictures(tmp_path / "ten", TEN, (90, 60)), model=model)
    assert {f.parent.name: k for f, k in zip(data.x.files, data.y.tolist())} == TEN and len(
        data.x.classes
    ) == 1000
    assert (
        data.x.classes[482] == "cassette player"
        and "10 of its 1000" in data.x.notes[0]
        and "shorter side to 201 (bicubic), middle 176 × 176" in data.x.notes[1]
    )
    theirs = timm.data.create_transform(
        **timm.data.resolve_data_config({}, model=model.model), is_training=False
    )(Image.open(data.x.files[0]))
    mean, std = (t.reshape(-1, 1, 1) for t in (model.mean, model.std))
    torch.testing.assert_close((data.x[:1][0] - mean) / std, theirs)
    assert load_data(
        pictures(tmp_path / "words", ["Tench", "gas-pump"]), model=model
    ).y.sort().values.tolist() == [0, 571]
    with pytest.raises(ValueError, match="folder crane could be any of the classes 134, 517"):
        load_data(pictures(tmp_path / "crane", ["crane"]), model=model)
    with pytest.raises(ValueError, match="2 folders and the model has 1000 outputs.*--classes FILE"):
        load_data(pictures(tmp_path / "pets", ["Katze", "Hund"]), model=model)


def test_timm_of_other_shapes():
    "Other channels and sizes than the configuration's."
    pytest.importorskip("timm")
    for channels in (1, 4):
        model = load_spec(f"timm:resnet10t,pretrained=false,in_chans={channels},num_classes=3")
        assert (
            model(torch.rand(2, channels, 32, 32)).shape == (2, 3)
            and model.channels == channels
            and "normalisation" in model.notes[0]
        )
    model = load_spec("timm:vit_tiny_patch16_224,pretrained=false,num_classes=2,img_size=96,depth=1")
    assert (
        model.fit.size == (96, 96)
        and model.input_size == 96
        and model(torch.rand(1, 3, 96, 96)).shape == (1, 2)
        and not model.notes
    )
