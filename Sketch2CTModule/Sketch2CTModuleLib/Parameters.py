"""What the user has set: lives in the scene, is saved with it and comes back with it.

The annotations are read when the class is made, so they are real types here, not text. A node may always be None.
"""

from typing import Annotated

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper

MAX_SEED = 2**31 - 1
# Sampling steps asked for; None leaves them to the bundle.
QUALITY_STEPS = {"draft": 4, "standard": None, "fine": 40}


@parameterNodeWrapper
class Parameters:
    """The module's parameter node. Names of structures, bundles and generators are the backend's own."""

    structure: str = "mandible"
    meaning: Annotated[str, Choice(["cross_section", "silhouette"])] = "cross_section"
    description: str
    quality: Annotated[str, Choice(list(QUALITY_STEPS))] = "standard"
    samples: Annotated[int, WithinRange(1, 20)] = 1
    seed: Annotated[int, WithinRange(0, MAX_SEED)] = 0
    maskFirst: bool = False
    completeSurroundings: bool = False
    startMask: vtkMRMLSegmentationNode
    frameVolume: vtkMRMLScalarVolumeNode
    bundle: str = "headneck"
    maskGenerator: str = "sketch2ct"
    volumeGenerator: str = "sketch2ct"
    device: str = "auto"
    sample: Annotated[int, WithinRange(0, 19)] = 0
