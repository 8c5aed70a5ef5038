package org.modegpt.model;

import java.util.Set;

/// How prompts are continued.
///
/// @param maxTokens most new tokens of each
/// @param endTokens after which a continuation ends; not part of it
public record GenerationSettings(int maxTokens, Sampling sampling, Set<Integer> endTokens) {
  public GenerationSettings {
    endTokens = Set.copyOf(endTokens);
  }

  /// Those of a prompt among others, see {@link Sampling#ofPrompt}.
  GenerationSettings ofPrompt(int index) {
    return new GenerationSettings(maxTokens, sampling.ofPrompt(index), endTokens);
  }
}
