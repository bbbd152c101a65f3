"""Many cases from one spec. `folder` and `gates` are for 3D Slicer's process too: neither torch nor a reader of images there."""
