"""Results in other programs' formats: 3D Slicer scenes, nnU-Net, MONAI data lists, DICOM."""
