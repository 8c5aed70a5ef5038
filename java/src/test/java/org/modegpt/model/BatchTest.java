package org.modegpt.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.modegpt.TestData;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.tensor.Tensor;

/// Sequences decoded together get the tokens they get alone.
class BatchTest {
  private static final int VOCABULARY = 96;
  private static final int CAPACITY = 64;

  static Stream<String> families() {
    return TestData.families().stream();
  }

  /// A prompt that keeps its new tokens.
  private static final class Kept implements Continuation {
    final int[] prompt;
    final List<Integer> tokens = new ArrayList<>();
    int ends;

    Kept(int... prompt) {
      this.prompt = prompt;
    }

    @Override
    public int[] prompt() {
      return prompt;
    }

    @Override
    public boolean token(int id) {
      assertThat(ends).isZero();
      tokens.add(id);
      return tokens.size() < 7 + prompt.length % 5; // not all stop at the same time
    }

    @Override
    public void end() {
      ends++;
    }
  }

  private static List<Kept> prompts(int count) {
    Random random = new Random(1);
    return IntStream.range(0, count)
        .mapToObj(_ -> new Kept(random.ints(1 + random.nextInt(30), 1, VOCABULARY).toArray()))
        .toList();
  }

  private static List<Integer> alone(Decoder decoder, int[] prompt, GenerationSettings settings) {
    Kept kept = new Kept(prompt);
    decoder.cache().truncate(0);
    decoder.generate(
        prompt, settings.maxTokens(), settings.sampling(), settings.endTokens(), kept::token);
    return kept.tokens;
  }

  private static void check(
      Backend backend, Transformer model, int sequences, int count, GenerationSettings settings) {
    List<Kept> prompts = prompts(count);
    try (Decoder together = new Decoder(backend, model, sequences, CAPACITY);
        Decoder single = new Decoder(backend, model, CAPACITY)) {
      together.generate(prompts.iterator(), settings);
      for (int i = 0; i < count; i++) {
        Kept one = prompts.get(i);
        assertThat(one.ends).isEqualTo(1);
        assertThat(one.tokens)
            .as("prompt of %d tokens, %d at a time", one.prompt.length, sequences)
            .isEqualTo(alone(single, one.prompt, settings.ofPrompt(i)));
      }
    }
  }

  /// Sliding windows, learned positions, all kinds of norms; more and fewer rows than the kernel
  /// for few rows takes.
  @ParameterizedTest
  @MethodSource("families")
  void tokensAreThoseOfEachPromptAlone(String family) {
    GenerationSettings greedy = new GenerationSettings(10, Sampling.GREEDY, Set.of(3, 11));
    try (Transformer model = Transformer.open(TestData.family(family));
        Backend backend = Backends.open("cpu", 2)) {
      check(backend, model, 3, 8, greedy);
      check(backend, model, 12, 14, greedy);
    }
  }

  @Test
  void samplingDependsOnTheSeedAlone() {
    try (Transformer model = Transformer.open(TestData.family("llama"));
        Backend backend = Backends.open("cpu", 2)) {
      Sampling sampling = new Sampling(1f, 20, 0.9f, 1.2f, 5);
      check(backend, model, 3, 7, new GenerationSettings(12, sampling, Set.of()));
    }
  }

  @Test
  void logitsAreThoseOfEachSequenceAlone() {
    try (Transformer model = Transformer.open(TestData.family("gemma2"));
        Backend backend = Backends.open("cpu", 2);
        Decoder together = new Decoder(backend, model, 3, CAPACITY);
        Decoder single = new Decoder(backend, model, CAPACITY)) {
      int[] a = new Random(2).ints(20, 0, VOCABULARY).toArray();
      int[] b = new Random(3).ints(9, 0, VOCABULARY).toArray();
      // A longer one before one token, then all kinds together.
      together.feed(List.of(tokens(2, a, 0, 12), tokens(0, b, 0, 1)));
      float[][] logits =
          together.feed(List.of(tokens(0, b, 1, 9), tokens(2, a, 12, 13), tokens(1, a, 0, 5)));
      int[][] seen = {b, Arrays.copyOf(a, 13), Arrays.copyOf(a, 5)};
      for (int i = 0; i < seen.length; i++) {
        single.cache().truncate(0);
        float[] expected = single.feed(seen[i]);
        for (int j = 0; j < expected.length; j++) {
          assertThat(Math.abs(logits[i][j] - expected[j])).isLessThan(1e-4f);
        }
        assertThat(Sampling.argmax(logits[i])).isEqualTo(Sampling.argmax(expected));
      }
      assertThat(IntStream.range(0, 3).map(together.cache()::length)).containsExactly(9, 5, 13);
    }
  }

  private static Decoder.Tokens tokens(int sequence, int[] ids, int from, int to) {
    return new Decoder.Tokens(sequence, Arrays.copyOfRange(ids, from, to));
  }

  /// The first prompt's beginning is computed once, then copied; only what is new is computed.
  @Test
  void sharedBeginningsAreComputedOnce() {
    int[] examples = new Random(4).ints(100, 1, VOCABULARY).toArray();
    List<Kept> prompts = new ArrayList<>();
    for (int i = 0; i < 6; i++) {
      int[] prompt = Arrays.copyOf(examples, 104);
      Arrays.fill(prompt, 100, 104, 10 + i);
      prompts.add(new Kept(prompt));
    }
    int[] rows = {0};
    GenerationSettings settings = new GenerationSettings(5, Sampling.GREEDY, Set.of());
    try (Transformer model = Transformer.open(TestData.family("llama"));
        Backend backend = Backends.open("cpu", 2);
        Decoder together = new Decoder(counting(backend, rows), model, 3, 120);
        Decoder single = new Decoder(backend, model, 120)) {
      together.generate(prompts.iterator(), settings);
      assertThat(rows[0]).isEqualTo(104 + 5 * 4 + 6 * 4);
      for (Kept one : prompts) {
        assertThat(one.tokens).isEqualTo(alone(single, one.prompt, settings));
      }
    }
  }

  private static Backend counting(Backend backend, int[] rows) {
    return (Backend)
        Proxy.newProxyInstance(
            Backend.class.getClassLoader(),
            new Class<?>[] {Backend.class},
            (_, method, arguments) -> {
              if (method.getName().equals("embed")) {
                rows[0] += (int) ((Tensor) arguments[2]).rows();
              }
              try {
                return method.invoke(backend, arguments);
              } catch (InvocationTargetException e) {
                throw e.getCause();
              }
            });
  }

  @Test
  void badInputIsRefused() {
    try (Transformer model = Transformer.open(TestData.family("opt"));
        Backend backend = Backends.open("cpu", 2);
        Decoder decoder = new Decoder(backend, model, 2, 1000)) {
      assertThatThrownBy(() -> decoder.feed(List.of(new Decoder.Tokens(0))))
          .isInstanceOf(UserException.class)
          .hasMessage("the prompt is empty");
      assertThatThrownBy(() -> decoder.feed(List.of(new Decoder.Tokens(0, 1, -1))))
          .hasMessageContaining("token id -1");
      assertThatThrownBy(() -> decoder.feed(List.of(new Decoder.Tokens(1, new int[1001]))))
          .hasMessage("1001 tokens do not fit the context of 1000");
      assertThatThrownBy(() -> decoder.feed(List.of(new Decoder.Tokens(1, new int[900]))))
          .hasMessageContaining("positions that the model knows");
      assertThatThrownBy(
              () -> decoder.next(List.of(new Decoder.Tokens(1, 1), new Decoder.Tokens(1, 2))))
          .hasMessage("sequence 1 is there twice");
      assertThatThrownBy(() -> decoder.next(List.of(new Decoder.Tokens(2, 1))))
          .hasMessage("there is no sequence 2 of 2");
      Kept kept = new Kept(1, 2);
      decoder.generate(
          List.of(kept).iterator(), new GenerationSettings(0, Sampling.GREEDY, Set.of()));
      assertThat(kept.tokens).isEmpty();
      assertThat(kept.ends).isEqualTo(1);
    }
  }
}
