"""Networks that MONAI does not have, built around those it has."""
