"""What people think of the cases. All but `blind` is for 3D Slicer's process too: neither torch nor a reader of images there."""
