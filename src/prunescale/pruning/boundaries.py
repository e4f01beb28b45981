"""How far the hidden state turns between boundaries of the blocks.

Letters of shapes: B sequences, L positions, D hidden size, K blocks. Boundary 0 is the input of the first block, K the output of the last.
"""

from collections import deque

import torch
from torch import Tensor

from prunescale.models import Blocks
from prunescale.pruning.plan import Calibration


@torch.no_grad()
def block_angles(blocks: Blocks, calibration: Calibration, *, apart: int) -> tuple[Tensor, Tensor]:
    """The mean cosine, and the mean angle in units of pi, of the hidden states at boundaries i and i + apart, over all positions:
    (K + 1 - apart,) each, float64 on the CPU. Of the boundaries' states, apart + 1 are kept at a time. Raises PruningError for a
    model that computes numbers that are not finite."""
    walk = calibration.walk(blocks, n_kept=apart + 2)
    behind = deque([walk.states], maxlen=apart + 1)
    cosines, angles = [], []
    for index in range(len(blocks)):
        with blocks.resident(index) as block:
            walk.states = walk.through(index, block)
        behind.append(walk.states)
        if len(behind) > apart:
            cosine, angle = mean_angle(behind[0], behind[-1], walk.device)
            cosines.append(cosine)
            angles.append(angle)
    n_positions = walk.n_tokens
    return torch.stack(cosines).cpu() / n_positions, torch.stack(angles).cpu() / n_positions


def mean_angle(before: list[Tensor], after: list[Tensor], device: torch.device) -> tuple[Tensor, Tensor]:
    """The sums over positions of the cosine, and of the angle in units of pi, between (B, L, D) states; in float64 on the device."""
    cosine_sum, angle_sum = torch.zeros(2, dtype=torch.float64, device=device)
    for before_BLD, after_BLD in zip(before, after, strict=True):
        cosine_BL = torch.nn.functional.cosine_similarity(
            before_BLD.to(device, non_blocking=True).float(), after_BLD.to(device, non_blocking=True).float(), dim=-1
        )
        cosine_sum += cosine_BL.double().sum()
        angle_sum += torch.acos(cosine_BL.clamp(-1, 1)).double().sum() / torch.pi
    return cosine_sum, angle_sum
