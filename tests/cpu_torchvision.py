"""torchvision, also where its compiled operators do not fit the torch that is installed.

The torch of constraints.txt may be its CPU build, and torchvision's one wheel is built for CUDA. Its
folders and transforms are Python; its import alone asks for two operators, which are declared here.
"""

import sys

import torch

_declared = []  # a Library takes its operators along when it is collected


def import_torchvision():
    """Import torchvision."""
    try:
        import torchvision
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(library)
        import torchvision
    return torchvision
