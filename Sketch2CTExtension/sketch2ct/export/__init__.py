"""Results in other programs' formats: Slicer scenes (`scene`); cohorts as data sets (`run`): nnU-Net, MONAI, DICOM, TotalSegmentator.

A format of data sets is one module with a function `write` (`writing.Writer`). None imports torch; DICOM alone needs more packages.
"""
