package org.modegpt.model;

import java.util.LinkedHashSet;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.function.IntPredicate;

/// The tokens drawn for one prompt, which end with an end token, after a number of tokens, or when
/// the one who is told wants no more.
final class Draws {
  private final GenerationSettings settings;
  private final IntPredicate sink;
  private final SplittableRandom random;
  private final Set<Integer> present = new LinkedHashSet<>();
  private int told;

  Draws(int[] prompt, GenerationSettings settings, IntPredicate sink) {
    this.settings = settings;
    this.sink = sink;
    this.random = settings.sampling().random();
    for (int id : prompt) {
      present.add(id);
    }
  }

  /// `logits` are changed.
  int draw(float[] logits) {
    return settings.sampling().next(logits, present, random);
  }

  /// Tells a token that was drawn; returns whether another is wanted.
  boolean tell(int id) {
    if (settings.endTokens().contains(id)) {
      return false;
    }
    told++;
    present.add(id);
    return sink.test(id) && told < settings.maxTokens();
  }

  int told() {
    return told;
  }
}
