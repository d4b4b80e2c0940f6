"""The guard's thresholds: the one place where they stand."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """Every number that the guard decides by; counts are steps unless said otherwise.

    Limits of a loss or a norm, in logarithms unless losses are negative:
    window: ordinary steps that a limit is made of; fewer seen: no limit
    z, factor: an outlier lies so many standard deviations above the median, and is so many times it
    wide, beyond: where z deviations are more than `wide` times the median, such as of losses near
    zero, whose logarithms spread far below it, the limit is at most so many times as far above the
    median as the largest of the window
    floor: no loss below this share of the first window's median is an outlier
    num_peaks, peak_span: so many outliers within the span that came and went are how the data is

    A lasting rise of the loss:
    level_steps: so many newest steps of the window are compared with the rest of it, by medians
    level_z, level_factor: as z and factor, for the median, which must be so many times the mean as
    well: few rows of great weight make the mean, and not the median; after a jump of the learning
    rate the median's own standard deviation is taken, and no factor

    What makes the weights suspect:
    nonfinite_row, nonfinite_count, nonfinite_span: steps not finite in a row, or in a span
    scaler_row: as many in a row where fp16's loss scale has still to fall
    outlier_count, outlier_span: losses that are outliers in a span, none calm since

    What is done then:
    look, hold: the median loss of `look` steps must be calm, and only calm ones are applied until
    it is; if it is not after `hold` of them, the weights are rolled back, and looked at likewise:
    where none of `hold` steps in a row is calm, further back; where only the first were, back off
    patience: after so many that are not calm, a high loss is the new level, and NaN is the end
    rollback_span: a second roll-back within it is a back-off
    lr_factor, rewarm: of a back-off; the second without a new best has lr_factor squared, and so on
    num_backoffs: so many without a new best, and the next is a stop

    restart: a learning rate so many times that of the step before, and seen before, is a restart;
    one so many times the highest before it is a jump
    jump_span: evidence that comes so many steps after a jump is put down to it: no look before the
    weights are rolled back, and a back-off undoes the jump at least
    advise_span: steps within which advice of one kind is not repeated

    >>> Policy(window=32).z
    8.0
    """

    window: int = 64
    z: float = 8.0
    factor: float = 2.0
    wide: float = 50.0
    beyond: float = 2.5
    floor: float = 0.01
    num_peaks: int = 3
    peak_span: int = 1000

    level_steps: int = 16
    level_z: float = 3.0
    level_factor: float = 4.0

    nonfinite_row: int = 3
    nonfinite_count: int = 50
    nonfinite_span: int = 100
    scaler_row: int = 20
    outlier_count: int = 3
    outlier_span: int = 20

    look: int = 8
    hold: int = 16
    patience: int = 64
    rollback_span: int = 1000
    lr_factor: float = 0.5
    rewarm: int = 100
    num_backoffs: int = 3

    restart: float = 3.0
    jump_span: int = 100
    advise_span: int = 100
