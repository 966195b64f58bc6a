"""Real files to start from, small ones: of as many variants as the libraries write."""

import gzip
import io
import json
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

BRAIN = Path(__file__).parents[1] / "data/brain_mri"
GREY = cv2.imread(str(sorted(BRAIN.rglob("*.jpg"))[0]), cv2.IMREAD_GRAYSCALE)[:120:2, :200:2].copy()
COLOUR = np.dstack([GREY, 255 - GREY, np.roll(GREY, 20, 1)])
DEEP = GREY.astype(np.uint16) * 257
SCANS = ("jpeg", "png", "tiff", "bmp", "dicom", "nifti")


@cache
def files(kind):
    """The files of one format."""
    return MAKERS[kind]()


def _saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def _jpeg():
    grey, colour = Image.fromarray(GREY), Image.fromarray(COLOUR)
    exif = Image.Exif()
    exif[274] = 6
    return [
        *(path.read_bytes() for path in sorted(BRAIN.rglob("*.jpg"))[::60]),
        _saved(grey, "JPEG", progressive=True),
        _saved(colour, "JPEG", exif=exif),
        _saved(colour.convert("CMYK"), "JPEG"),
    ]


def _png():
    grey, colour = Image.fromarray(GREY), Image.fromarray(COLOUR)
    images = [grey, colour, colour.quantize(20), colour.convert("LA"), colour.convert("RGBA")]
    return [
        *(_saved(image, "PNG") for image in [*images, grey.convert("1")]),
        _saved(colour.quantize(9), "PNG", bits=4, transparency=3),
        cv2.imencode(".png", DEEP)[1].tobytes(),
    ]


def _tiff():
    grey, colour = Image.fromarray(GREY), Image.fromarray(COLOUR)
    packings = [None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"]
    pages = {"save_all": True, "append_images": [colour, Image.fromarray(DEEP)]}
    return [
        *(_saved(image, "TIFF", compression=p) for p in packings for image in (grey, colour)),
        *(cv2.imencode(".tiff", a)[1].tobytes() for a in (DEEP, np.float32(GREY))),
        _saved(grey, "TIFF", **pages),
        _saved(grey, "TIFF", big_tiff=True),
        _saved(colour.quantize(20), "TIFF"),
    ]


def _bmp():
    colour = Image.fromarray(COLOUR)
    images = (Image.fromarray(GREY), colour, colour.quantize(16), colour.convert("RGBA"))
    return [_saved(image, "BMP") for image in images]


def _dicom():
    import pydicom

    folder = Path(pydicom.__file__).parent / "data/test_files"
    paths = sorted(path for path in folder.glob("*.dcm") if path.stat().st_size < 50_000)
    return [path.read_bytes() for path in paths]


def _nifti():
    import nibabel

    volume = np.arange(210, dtype=np.int16).reshape(5, 6, 7)
    made = [
        nibabel.Nifti1Image(volume, np.eye(4)).to_bytes(),
        nibabel.Nifti2Image(volume.astype(np.float32), np.diag([2, -3, 4, 1])).to_bytes(),
    ]
    return [*made, gzip.compress(made[0])]


def _model():
    """Model files of a few hundred bytes: with classes and without, with a full card and a bare one."""
    from onnx import TensorProto, helper, numpy_helper

    from scangan.artifacts.card import KEY, ModelCard
    from scangan.artifacts.modelfile import graph_sha256

    def made(classes, **facts):
        weights = numpy_helper.from_array(np.ones((4, 64), np.float32), "w")
        shape = numpy_helper.from_array(np.array([-1, 1, 8, 8]), "s")
        nodes = [
            helper.make_node("Gemm", ["z", "w"], ["a"], alpha=2.0),
            helper.make_node("Reshape", ["a", "s"], ["b"]),
            helper.make_node("Cast", ["b"], ["image"], to=TensorProto.UINT8),
        ]
        inputs = [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 4])]
        image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 1, 8, 8])
        graph = helper.make_graph(nodes, "g", inputs, [image], [weights, shape])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
        card = ModelCard(
            architecture="acgan" if classes else "dcgan",
            latent=4,
            classes=classes,
            size=8,
            graph_sha256=graph_sha256(model.SerializeToString()),
            **facts,
        )
        helper.set_model_props(model, {KEY: card.to_json()})
        return model.SerializeToString()

    scores = {"agreement": {"a": 0.9}, "kid": 0.01, "n": 100, "real_kid": 0.0}
    facts = {"scores": scores, "dataset_counts": {"a": 70, "b": 7}, "versions": {"numpy": "2.4"}}
    return [made(()), made(("a", "b"), **facts)]


def _labels():
    """Tables as spreadsheets write them."""
    return [
        b"file,class\r\na.png,no tumor\r\nb.png,glioma\r\n",
        b'\xef\xbb\xbffile;class;subject\nsub/a.png;A|B;p1\n"c;d.dcm";A;\nc;B;p2\n',
        "class\tsubject\tfile\nMéningiome\t7\tsub\\b.nii.gz\nGliom\t\tb.nii\n".encode(),
        b'file,class\n"a\n.png","x ""y"""\na,a\na,b\n',
    ]


def _suspects():
    """Suspects of two draws of a model with classes, one of a model without, and one of unknown origin."""
    from fuzz.promises import CLASSES, MODEL

    def line(class_name, **origin):
        scan = {
            "synthetic": "a/0.png",
            "class": class_name,
            "index": 3,
            "train": "a/7.jpg",
            "train_index": 9,
        }
        told = {"synthetic": True, "model": MODEL, "seed": 0, "index": 3, "class": class_name}
        scores = {
            "similarity": 0.99,
            "distance": 0.5,
            "origin": (told | origin) if origin else None,
        }
        return json.dumps(scan | scores)

    first, second = CLASSES
    several = [
        line(first, seed=0), line(second, truncation=0.5), line(first, paired=True), line(None, seed=2),
        line(second, model="b" * 64),
    ]  # fmt: skip
    return [f"{text}\n".encode() for text in (several[0], "\n".join(several), line(first))]


MAKERS = {
    "jpeg": _jpeg,
    "png": _png,
    "tiff": _tiff,
    "bmp": _bmp,
    "dicom": _dicom,
    "nifti": _nifti,
    "model": _model,
    "labels": _labels,
    "suspects": _suspects,
}
