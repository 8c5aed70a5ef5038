package org.modegpt.model;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.modegpt.Progress;

/// Continues prompts, as many at a time as the decoder's cache has sequences. A step is one pass of
/// the last token of each that runs, and of prompts that take the places of those that ended; what
/// a prompt has in common with one in the cache is copied from there.
final class Batch {
  /// Tokens for which a prompt waits a step, until they can be copied from one that joins now.
  private static final int WORTH_WAITING = 64;

  private final Decoder decoder;
  private final KvCache cache;
  private final GenerationSettings settings;
  private final Iterator<? extends Continuation> prompts;
  private final @Nullable Running[] running;

  /// The prompt, or the part of it, that stands at the beginning of each sequence of the cache.
  private final int[][] held;

  private @Nullable Continuation waiting;

  /// Prompts that have joined.
  private int joined;

  private static final class Running {
    final Continuation continuation;
    final int[] prompt;
    final Draws draws;

    /// The last token drawn.
    int last;

    /// @param index of the prompt
    Running(Continuation continuation, int[] prompt, GenerationSettings settings, int index) {
      this.continuation = continuation;
      this.prompt = prompt;
      this.draws = new Draws(prompt, settings.ofPrompt(index), continuation::token);
    }
  }

  Batch(Decoder decoder, GenerationSettings settings, Iterator<? extends Continuation> prompts) {
    this.decoder = decoder;
    this.cache = decoder.cache();
    this.settings = settings;
    this.prompts = prompts;
    this.running = new Running[cache.sequences()];
    this.held = new int[cache.sequences()][0];
  }

  void run() {
    if (settings.maxTokens() <= 0) {
      prompts.forEachRemaining(Continuation::end);
      return;
    }
    while (step()) {
      Progress.checkCancelled();
    }
  }

  private boolean step() {
    List<Decoder.Tokens> inputs = new ArrayList<>();
    for (int sequence = 0; sequence < running.length; sequence++) {
      Running one = running[sequence];
      if (one != null) {
        inputs.add(new Decoder.Tokens(sequence, one.last));
      }
    }
    admit(inputs);
    if (inputs.isEmpty()) {
      return false;
    }
    if (settings.sampling().greedy()) {
      tell(inputs, decoder.next(inputs));
    } else {
      float[][] logits = decoder.feed(inputs);
      int[] ids = new int[logits.length];
      // Of large vocabularies drawing takes longer than a pass on a GPU.
      IntStream.range(0, ids.length)
          .parallel()
          .forEach(i -> ids[i] = at(inputs.get(i).sequence()).draws.draw(logits[i]));
      tell(inputs, ids);
    }
    return true;
  }

  private void tell(List<Decoder.Tokens> inputs, int... ids) {
    for (int i = 0; i < ids.length; i++) {
      tell(inputs.get(i).sequence(), ids[i]);
    }
  }

  private void tell(int sequence, int id) {
    Running one = at(sequence);
    held[sequence] = one.prompt;
    one.last = id;
    if (!one.draws.tell(id) || cache.length(sequence) == cache.capacity()) {
      running[sequence] = null;
      one.continuation.end();
    }
  }

  private Running at(int sequence) {
    Running one = running[sequence];
    if (one == null) {
      throw new IllegalStateException("sequence " + sequence + " does not run");
    }
    return one;
  }

  /// Gives free sequences to prompts, whose tokens join `inputs`.
  private void admit(List<Decoder.Tokens> inputs) {
    List<int[]> joining = new ArrayList<>();
    for (int free = firstFree(); free >= 0 && peek() != null; free = firstFree()) {
      Running next = new Running(peek(), peek().prompt(), settings, joined);
      int source = source(next.prompt);
      int shared = shared(held[source], next.prompt);
      int sharedWithJoining =
          joining.stream().mapToInt(other -> shared(other, next.prompt)).max().orElse(0);
      if (sharedWithJoining > shared + WORTH_WAITING) {
        return;
      }
      waiting = null;
      joined++;
      int sequence = running[source] == null ? source : free;
      if (sequence == source) {
        cache.truncate(sequence, shared);
      } else {
        cache.copy(source, sequence, shared);
      }
      held[sequence] = Arrays.copyOf(next.prompt, shared);
      running[sequence] = next;
      joining.add(next.prompt);
      inputs.add(
          new Decoder.Tokens(
              sequence, Arrays.copyOfRange(next.prompt, shared, next.prompt.length)));
    }
  }

  private @Nullable Continuation peek() {
    if (waiting == null && prompts.hasNext()) {
      waiting = prompts.next();
    }
    return waiting;
  }

  private int firstFree() {
    return Arrays.asList(running).indexOf(null);
  }

  /// The sequence that shares most with a prompt; a free one if there is a choice.
  private int source(int[] prompt) {
    int best = 0;
    for (int sequence = 1; sequence < held.length; sequence++) {
      int more = shared(held[sequence], prompt) - shared(held[best], prompt);
      if (more > 0 || (more == 0 && running[best] != null && running[sequence] == null)) {
        best = sequence;
      }
    }
    return best;
  }

  /// Tokens at the beginning of both; a prompt's last is always computed anew.
  private static int shared(int[] before, int[] prompt) {
    int mismatch = Arrays.mismatch(before, prompt);
    return Math.min(mismatch < 0 ? prompt.length : mismatch, prompt.length - 1);
  }
}
