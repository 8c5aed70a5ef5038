package org.modegpt.calibrate;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.modegpt.Progress;
import org.modegpt.backend.Backend;
import org.modegpt.model.Ahead;
import org.modegpt.model.BlockWeights;
import org.modegpt.model.DenseBlocks;
import org.modegpt.model.LanguageHead;
import org.modegpt.model.Residents;
import org.modegpt.model.SpanWriter;
import org.modegpt.model.StreamingPass;
import org.modegpt.model.Transformer;
import org.modegpt.model.Transformer.Residence;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Sequences of the model's own, a share of which makes what is kept depend less on the text that
/// was given.
///
/// The model first writes short spans, each from a token taken at random from all that occur in the
/// text at hand: they call on units that text of one kind leaves idle (an encyclopedia has no
/// "contact us"). Then every token of spans put one after another is drawn anew after the tokens
/// before it: what is read is likely word by word and yet hardly a text, as much of what a model
/// meets elsewhere is to it.
public final class OwnText {
  /// Long enough for the prediction to come from context, short enough for many beginnings.
  static final int SPAN = 32;

  /// Writing goes token by token and takes far longer than drawing anew, so a span is used so
  /// often.
  static final int USES = 4;

  private OwnText() {}

  /// The same number of sequences, of which an evenly spread share makes way for the model's own;
  /// these come last.
  ///
  /// @param dense blocks, which may be used again afterwards
  /// @param sequences equally long
  /// @param share in `[0, 1]`
  public static List<int[]> of(
      Transformer model,
      Backend backend,
      DenseBlocks dense,
      List<int[]> sequences,
      double share,
      long seed,
      Progress progress) {
    List<int[]> result = new ArrayList<>();
    for (int i = 0; i < sequences.size(); i++) {
      if (Math.floor((i + 1) * share) == Math.floor(i * share)) {
        result.add(sequences.get(i));
      }
    }
    int own = sequences.size() - result.size();
    if (own == 0) {
      return sequences;
    }
    int length = sequences.getFirst().length;
    int span = Math.min(SPAN, length);
    int needed = own * Math.ceilDiv(length, span);
    int[] first = beginnings(sequences, Math.ceilDiv(needed, USES), seed);
    int[][] spans;
    try (SpanWriter writer = new SpanWriter(backend, model, dense)) {
      spans = writer.write(first, span, seed + 1, progress);
    }
    List<int[]> texts = arranged(spans, own, length, seed + 2);
    result.addAll(redrawn(model, backend, dense, texts, seed + 3, progress));
    return result;
  }

  /// Tokens of the text, each kind as likely as any other.
  private static int[] beginnings(List<int[]> sequences, int count, long seed) {
    int[] kinds = sequences.stream().flatMapToInt(IntStream::of).distinct().sorted().toArray();
    SplittableRandom random = new SplittableRandom(seed);
    return IntStream.generate(() -> kinds[random.nextInt(kinds.length)]).limit(count).toArray();
  }

  /// Sequences of all spans, again and again in another order.
  private static List<int[]> arranged(int[][] spans, int count, int length, long seed) {
    Random random = new Random(seed);
    List<int[]> order = new ArrayList<>();
    List<int[]> texts = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      int[] text = new int[length];
      for (int at = 0; at < length; at += spans[0].length) {
        if (order.isEmpty()) {
          order.addAll(List.of(spans));
          Collections.shuffle(order, random);
        }
        int[] span = order.removeLast();
        System.arraycopy(span, 0, text, at, Math.min(span.length, length - at));
      }
      texts.add(text);
    }
    return texts;
  }

  /// The texts with every token but the first drawn anew after those before it.
  static List<int[]> redrawn(
      Transformer model,
      Backend backend,
      DenseBlocks dense,
      List<int[]> texts,
      long seed,
      Progress progress) {
    int layers = model.config().layers();
    try (Arena call = Arena.ofShared();
        Ahead<BlockWeights> blocks = dense.forth();
        StreamingPass pass =
            new StreamingPass(backend, model, texts.size(), texts.getFirst().length)) {
      pass.embed(texts);
      for (int layer = 0; layer < layers; layer++) {
        try (Ahead<BlockWeights>.Loaded block = blocks.get(layer)) {
          pass.block(block.value(), StreamingPass.LayerTap.NONE);
        }
        progress.update("writing", layer + 1, layers, "layer");
      }
      long rows = pass.stream().rows();
      Tensor ids = backend.allocate(call, DType.I32, 1, rows);
      try (LanguageHead head = new LanguageHead(backend, model, Residence.F32)) {
        head.sample(pass.stream(), uniforms(backend, call, rows, seed), ids);
      }
      int[] drawn = Residents.download(backend, call, ids).toInts();
      List<int[]> result = new ArrayList<>();
      for (int i = 0; i < texts.size(); i++) {
        int[] text = texts.get(i).clone();
        System.arraycopy(drawn, i * text.length, text, 1, text.length - 1);
        result.add(text);
      }
      return result;
    }
  }

  /// Random numbers in `[0, 1)`, F32 `[1, count]` on the device.
  static Tensor uniforms(Backend backend, Arena arena, long count, long seed) {
    SplittableRandom random = new SplittableRandom(seed);
    Tensor uniforms = Tensor.allocate(arena, DType.F32, 1, count);
    for (long i = 0; i < count; i++) {
      uniforms.set(0, i, LanguageHead.uniform(random));
    }
    return Residents.upload(backend, arena, uniforms);
  }
}
