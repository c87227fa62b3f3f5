"""Short arrays in failure messages: a world prints on a page."""

import numpy as np

np.set_printoptions(threshold=20, edgeitems=3)
