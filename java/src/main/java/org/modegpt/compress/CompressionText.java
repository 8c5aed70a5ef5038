package org.modegpt.compress;

import java.util.List;

/// Token sequences that compression looks at besides the statistics. A recipe that measures nothing
/// on text needs none of it.
///
/// @param probe held back from calibration, equally long: what {@link AllocationRule#MEASURED} and
///   the choice among refits measure divergence on
/// @param calibration equally long: what {@link Recipe.Refit} fits
public record CompressionText(List<int[]> probe, List<int[]> calibration) {
  public static final CompressionText NONE = new CompressionText(List.of(), List.of());

  public CompressionText {
    probe = List.copyOf(probe);
    calibration = List.copyOf(calibration);
  }
}
