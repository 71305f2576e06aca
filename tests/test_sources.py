"Models of transformers and timm as their own libraries evaluate them; random weights, nothing is downloaded."

import json
import numpy as np
import pytest
import torch
from PIL import Image
from so_attack.hub import from_transformers
from so_attack.models import ModelMissing
from so_attack.sources import load_data, load_spec

pytestmark = pytest.mark.slow  # these libraries are extras, there when the slow tests run
SIDE = {"height": 32, "width": 32}
TINY_VIT = {
    "image_size": 32,
    "patch_size": 8,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "num_labels": 4,
}


@pytest.fixture(scope="module")
def transformers():
    found = pytest.importorskip("transformers")
    found.logging.set_verbosity_error()
    found.logging.disable_progress_bar()
    return found


def vit(transformers, channels=3, **config):
    torch.manual_seed(0)
    settings = transformers.ViTConfig(num_channels=channels, **(TINY_VIT | config))
    return transformers.ViTForImageClassification(settings).eval()


def pictures(folder, names, size=(32, 32), mode="RGB"):
    "A folder with one random image for each name."
    numbers = np.random.default_rng(sum(size))
    for name in names:
        (folder / name).mkdir(parents=True)
        pixels = numbers.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(folder / name / "0.png")
    return str(folder)


def classes_found(data):
    "The class of each folder."
    return {f.parent.name: k for f, k in zip(data.x.files, data.y.tolist())}


MEANS = {
    "ImageNet's": {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
    "twice the usual": {"rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3},
    "bytes": {"rescale_factor": 1.0, "image_mean": [127.5] * 3, "image_std": [127.5] * 3},
}
OFFSET = {"rescale_offset": True, "rescale_factor": 1 / 127.5, "include_top": False}
PROCESSORS = {
    "plain": ("ViT", {"size": SIDE}),
    "no normalization": ("ViT", {"size": SIDE, "do_normalize": False}),
    "no rescaling": ("ViT", {"size": SIDE, "do_rescale": False}),
    "neither": ("ViT", {"size": SIDE, "do_rescale": False, "do_normalize": False}),
    "BGR": ("MobileViT", {"size": {"shortest_edge": 36}, "crop_size": SIDE}),
    "divided twice": ("EfficientNet", {"size": SIDE}),
    "offset": ("EfficientNet", {"size": SIDE, **OFFSET}),
    "crop_pct": ("ConvNext", {"size": {"shortest_edge": 32}}),
    "shorter side": ("CLIP", {"size": {"shortest_edge": 32}, "crop_size": SIDE}),
    **{kind: ("ViT", {"size": SIDE, **fields}) for kind, fields in MEANS.items()},
}


@pytest.mark.parametrize("kind", PROCESSORS)
def test_what_the_processor_does(transformers, tmp_path, kind):
    "Of any size, an image in a folder gets the logits that model and processor give it."
    name, fields = PROCESSORS[kind]
    net, where = vit(transformers), tmp_path / "net"
    net.save_pretrained(where)
    getattr(transformers, f"{name}ImageProcessor")(**fields).save_pretrained(where)
    models = [(load_spec(f"hf:{where}"), transformers.AutoImageProcessor.from_pretrained(where))]
    slow = getattr(transformers, f"{name}ImageProcessorPil", None)
    if slow:
        models.append((from_transformers(net, processor=slow(**fields)), slow(**fields)))
    for i, size in enumerate([(32, 32), (50, 40), (20, 64)]):
        folder = pictures(tmp_path / f"{i}", "0", size)
        for model, processor in models:
            data = load_data(folder, model=model)
            given = processor(Image.open(data.x.files[0]), return_tensors="pt")["pixel_values"]
            with torch.no_grad():
                torch.testing.assert_close(model(data.x[:1]), net(given).logits, rtol=1e-4, atol=1e-5)
            assert "own evaluation" in data.x.notes[1] and not model.notes


def test_one_channel(transformers, tmp_path):
    where = tmp_path / "net"
    vit(transformers, 1).save_pretrained(where)
    one = transformers.ViTImageProcessor(size=SIDE, image_mean=[0.5], image_std=[0.25])
    one.save_pretrained(where)
    model, x = load_spec(f"hf:{where}"), torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(x), model.model.model((x - 0.5) / 0.25).logits)
    gray, color = pictures(tmp_path / "gray", "01", mode="L"), pictures(tmp_path / "color", "01")
    assert load_data(gray, model=model).x.shape == (2, 1, 32, 32)
    with pytest.raises(ValueError, match="one channel and the folder has images in colour"):
        load_data(color, model=model)
    transformers.ViTImageProcessor(size=SIDE).save_pretrained(where)
    with pytest.raises(ValueError, match="cannot take images of 1 channel .*file.py:factory"):
        load_spec(f"hf:{where}")


def test_without_a_processor(transformers, tmp_path):
    "No normalization, and the model says so; a processor that cannot be read is not taken for none."
    net = vit(transformers)
    net.save_pretrained(tmp_path)
    model, x = load_spec(f"hf:{tmp_path}"), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(x), net(x).logits)
    assert "no image processor" in model.notes[0] and model.labels is None
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(ModelMissing, match="could not load"):
        load_spec(f"hf:{tmp_path}")


def test_labels_of_transformers(transformers, tmp_path):
    where, names = tmp_path / "net", {0: "tabby, tabby cat", 1: "dog", 2: "Egyptian_cat", 3: "hen"}
    vit(transformers, id2label=names, label2id={v: k for k, v in names.items()}).save_pretrained(where)
    transformers.ViTImageProcessor(size=SIDE).save_pretrained(where)
    model = load_spec(f"hf:{where}")
    pets = pictures(tmp_path / "pets", ["egyptian cat", "Tabby", "DOG"])
    data = load_data(pets, size=16, model=model)
    assert classes_found(data) == {"egyptian cat": 2, "Tabby": 0, "DOG": 1}
    assert data.x.classes == list(names.values()) and data.x.shape == (3, 3, 16, 16)
    assert "does otherwise" in data.x.notes[1]
    with pytest.raises(ValueError, match="the folder fish has none of the names"):
        load_data(pictures(tmp_path / "more", ["hen", "fish"]), model=model)


CODE = """
from transformers import ViTConfig, ViTForImageClassification
class Config(ViTConfig): model_type = "mine"
class Model(ViTForImageClassification): config_class = Config
"""


def test_code_of_others(transformers, tmp_path):
    "It is run when that is said in words, and not by a SPEC."
    vit(transformers).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    own = {
        "AutoConfig": "code_of_mine.Config",
        "AutoModelForImageClassification": "code_of_mine.Model",
    }
    config |= {"auto_map": own, "model_type": "mine"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "code_of_mine.py").write_text(CODE)
    for settings in ("", ",trust_remote_code=true", ",trust_remote_code=false"):
        with pytest.raises(ValueError, match="--trust-remote-code"):
            load_spec(f"hf:{tmp_path}{settings}")
    model = load_spec(f"hf:{tmp_path}", trust_remote_code=True)
    assert type(model.model.model).__name__ == "Model"


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
    "A folder like Imagenette's has ten of ImageNet's classes, by synset or by word, and timm's evaluation."
    timm = pytest.importorskip("timm")
    model = load_spec("timm:resnet10t,pretrained=false")
    data = load_data(pictures(tmp_path / "ten", TEN, (90, 60)), model=model)
    assert classes_found(data) == TEN and len(data.x.classes) == 1000
    assert data.x.classes[482] == "cassette player" and "10 of its 1000" in data.x.notes[0]
    assert "shorter side to 201 (bicubic), middle 176 × 176" in data.x.notes[1]
    config = timm.data.resolve_data_config({}, model=model.model)
    transform = timm.data.create_transform(**config, is_training=False)
    mean, std = model.mean.reshape(-1, 1, 1), model.std.reshape(-1, 1, 1)
    theirs = transform(Image.open(data.x.files[0]))
    torch.testing.assert_close((data.x[:1][0] - mean) / std, theirs)
    words = load_data(pictures(tmp_path / "words", ["Tench", "gas-pump"]), model=model)
    assert words.y.sort().values.tolist() == [0, 571]
    with pytest.raises(ValueError, match="folder crane could be any of the classes 134, 517"):
        load_data(pictures(tmp_path / "crane", ["crane"]), model=model)
    with pytest.raises(ValueError, match="2 folders and the model has 1000 outputs.*--classes FILE"):
        load_data(pictures(tmp_path / "pets", ["Katze", "Hund"]), model=model)


def test_timm_of_other_shapes():
    "Other channels and sizes than the configuration's."
    pytest.importorskip("timm")
    for channels in (1, 4):
        model = load_spec(f"timm:resnet10t,pretrained=false,in_chans={channels},num_classes=3")
        assert model(torch.rand(2, channels, 32, 32)).shape == (2, 3) and model.channels == channels
        assert "normalisation" in model.notes[0]
    model = load_spec("timm:vit_tiny_patch16_224,pretrained=false,num_classes=2,img_size=96,depth=1")
    assert model.fit.size == (96, 96) and model.input_size == 96 and not model.notes
    assert model(torch.rand(1, 3, 96, 96)).shape == (1, 2)
