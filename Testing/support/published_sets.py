"""Tiny cases in the folder layouts in which CHAOS, AVT and the Medical Segmentation Decathlon are published, made of ellipsoids.

Every maker returns what a converted case must hold: case -> (image, mask, affine RAS) on the grid it was drawn on.
"""

import json

import nibabel as nib
import nrrd
import numpy as np
from skimage import io

from dicom_files import write_slice

SHAPE, SPACING = (40, 36, 32), (6.0, 6.0, 7.0)
FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])  # RAS <-> LPS


def ras_affine(spacing=SPACING, shape=SHAPE):
    """Axes left, posterior, superior, centred on the origin."""
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[:3, 3] = [(shape[0] - 1) * spacing[0] / 2, (shape[1] - 1) * spacing[1] / 2, -(shape[2] - 1) * spacing[2] / 2]
    return affine


def ellipsoid(affine, centre, radii, shape=SHAPE):
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    return (((index @ affine[:3, :3].T + affine[:3, 3] - centre) / radii) ** 2).sum(-1) <= 1


def ct_case(number, organ_hu, centre, radii):
    """A body of 40 HU in air with an organ on one side; sizes differ from case to case."""
    affine, size = ras_affine(), 0.85 + 0.06 * number
    hu = np.full(SHAPE, -1000, np.int16)
    hu[ellipsoid(affine, (0, 0, 0), (105, 92, 140))] = 40
    mask = ellipsoid(affine, np.add(centre, (number, 0, 2 * number)), np.asarray(radii) * size)
    hu[ellipsoid(affine, (0, -55, 0), (14, 14, 130))] = 500
    hu[mask] = organ_hu
    return hu, mask, affine


def liver_case(number):
    return ct_case(number, 110, (40, 10, 10), (52, 46, 48))


def aorta_case(number):
    return ct_case(number, 300, (-6, -25, 0), (16, 16, 100))


def heart_case(number):
    """Raw MR intensities without unit, another scale in every case."""
    affine, size = ras_affine(), 0.9 + 0.05 * number
    signal = np.zeros(SHAPE, np.float32)
    signal[ellipsoid(affine, (0, 0, 0), (105, 92, 140))] = 90
    mask = ellipsoid(affine, (-10 + number, -5, 0), np.array([32, 30, 34]) * size)
    signal[mask] = 400
    return np.round(signal * (1 + number)).astype(np.int16), mask, affine


def make_chaos(root, patients=(1, 2, 5, 10)):
    """Train_Sets/CT/<n>/DICOM_anon and Ground; slices from the head down, in the names of both batches of the set.

    The first patient's air is padding in unsigned pixels.
    """
    made = {}
    for number, patient in enumerate(patients):
        hu, mask, affine = liver_case(number)
        folder = root / "Train_Sets" / "CT" / str(patient)
        (folder / "DICOM_anon").mkdir(parents=True)
        (folder / "Ground").mkdir()
        stored = (hu + 1024).astype(np.uint16)
        if number == 0:
            stored[hu == -1000] = 63536
        for n, k in enumerate(reversed(range(SHAPE[2]))):
            name = f"i{n:04d},0000b.dcm" if number % 2 == 0 else f"IMG-0002-{n + 1:05d}.dcm"
            position = (FLIP @ affine @ [0, 0, k, 1])[:3]
            uid = f"1.2.826.0.1.{patient}.{n + 1}"
            write_slice(folder / "DICOM_anon" / name, stored[:, :, k].T, position, (SPACING[1], SPACING[0]), uid)
            picture = np.where(mask[:, :, k].T, 255, 0).astype(np.uint8)
            io.imsave(folder / "Ground" / f"liver_GT_{n:03d}.png", picture, check_contrast=False)
        made[f"chaos_{patient:02d}"] = (np.where(hu == -1000, -1024, hu) if number == 0 else hu, mask, affine)
    return made


def _header(affine, **more):
    lps = FLIP @ affine
    return {"space": "left-posterior-superior", "space directions": lps[:3, :3].T, "space origin": lps[:3, 3], **more}


def make_avt(root, cases=("Dongyang/D1", "KiTS/K1", "Rider/R1 (AD)", "Rider/R3")):
    """<centre>/<folder>/<case>.nrrd and .seg.nrrd; the first one's numbers are 1024 too large, its segmentation a part of the grid."""
    made = {}
    for number, place in enumerate(cases):
        hu, mask, affine = aorta_case(number)
        folder = root / place
        folder.mkdir(parents=True)
        name = folder.name.split(" ")[0]
        nrrd.write(str(folder / f"{name}.nrrd"), hu + 1024 if number == 0 else hu, _header(affine))
        low = np.argwhere(mask).min(0) if number == 0 else np.zeros(3, int)
        high = np.argwhere(mask).max(0) + 1 if number == 0 else np.asarray(SHAPE)
        part, own = mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))], affine.copy()
        own[:3, 3] = affine[:3, :3] @ low + affine[:3, 3]
        nrrd.write(str(folder / f"{name}.seg.nrrd"), part.astype(np.uint8), _header(own, Segment0_Name="aorta", Segment0_LabelValue="1"))
        made[f"avt_{name}"] = (hu, mask, affine)
    return made


def _msd(root, prefix, make, modality, labels, numbers):
    made, training = {}, []
    for name in ("imagesTr", "labelsTr", "imagesTs"):
        (root / name).mkdir(parents=True)
    for number, case in enumerate(numbers):
        image, mask, affine = make(number)
        values = mask.astype(np.uint8)
        if len(labels) > 2:
            inside = np.argwhere(mask)
            values[tuple(inside[len(inside) // 2])] = 2  # a tumour
        nib.save(nib.Nifti1Image(image, affine), root / "imagesTr" / f"{prefix}_{case}.nii.gz")
        nib.save(nib.Nifti1Image(values, affine), root / "labelsTr" / f"{prefix}_{case}.nii.gz")
        (root / "labelsTr" / f"._{prefix}_{case}.nii.gz").write_bytes(b"\0\5\26\7 left by an archiver")
        training.append({"image": f"./imagesTr/{prefix}_{case}.nii.gz", "label": f"./labelsTr/{prefix}_{case}.nii.gz"})
        made[f"{prefix}_{case}"] = (image, mask, affine)
    description = {
        "name": root.name,
        "tensorImageSize": "3D",
        "modality": {"0": modality},
        "labels": labels,
        "numTraining": len(training),
        "numTest": 1,
        "training": training,
        "test": [f"./imagesTs/{prefix}_999.nii.gz"],
    }
    (root / "dataset.json").write_text(json.dumps(description))
    return made


def make_msd_liver(root):
    return _msd(root, "liver", liver_case, "CT", {"0": "background", "1": "liver", "2": "cancer"}, (0, 1, 10, 101))


def make_msd_heart(root):
    return _msd(root, "la", heart_case, "MRI", {"0": "background", "1": "left atrium"}, ("003", "004", "005", "007"))
