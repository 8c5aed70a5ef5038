package org.modegpt.calibrate;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
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
/// Half of them are given text with every token drawn anew after the tokens before it: what is read
/// is likely word by word and yet hardly a text, as much of what a model meets elsewhere is to it.
/// The other half the model writes in short spans, each from a token taken at random from all that
/// occur in the text: they call on units that text of one kind leaves idle (an encyclopedia has no
/// "contact us").
///
/// @param dense blocks, which may be used again afterwards
public record OwnText(Transformer model, Backend backend, DenseBlocks dense, Progress progress) {
  /// Long enough for the prediction to come from context, short enough for many beginnings.
  static final int SPAN = 32;

  /// The same number of sequences, of which an evenly spread share makes way for the model's own;
  /// these come last, those that were drawn anew first.
  ///
  /// @param sequences equally long
  /// @param share in `[0, 1]`
  public List<int[]> mixed(List<int[]> sequences, double share, long seed) {
    List<int[]> result = new ArrayList<>();
    List<int[]> replaced = new ArrayList<>();
    for (int i = 0; i < sequences.size(); i++) {
      boolean stays = Math.floor((i + 1) * share) == Math.floor(i * share);
      (stays ? result : replaced).add(sequences.get(i));
    }
    int anew = replaced.size() / 2;
    if (anew > 0) {
      result.addAll(redrawn(replaced.subList(0, anew), seed + 3));
    }
    int written = replaced.size() - anew;
    if (written > 0) {
      result.addAll(written(sequences, written, seed));
    }
    return result;
  }

  /// `count` sequences as long as the given ones, of spans one after another.
  private List<int[]> written(List<int[]> sequences, int count, long seed) {
    int length = sequences.getFirst().length;
    int span = Math.min(SPAN, length);
    int each = Math.ceilDiv(length, span);
    int[] first = beginnings(sequences, count * each, seed);
    int[][] spans;
    try (SpanWriter writer = new SpanWriter(backend, model, dense)) {
      spans = writer.write(first, span, seed + 1, progress);
    }
    List<int[]> texts = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      texts.add(
          Arrays.stream(spans, i * each, (i + 1) * each)
              .flatMapToInt(IntStream::of)
              .limit(length)
              .toArray());
    }
    return texts;
  }

  /// Tokens of the text, each kind as likely as any other.
  private static int[] beginnings(List<int[]> sequences, int count, long seed) {
    int[] kinds = sequences.stream().flatMapToInt(IntStream::of).distinct().sorted().toArray();
    SplittableRandom random = new SplittableRandom(seed);
    return IntStream.generate(() -> kinds[random.nextInt(kinds.length)]).limit(count).toArray();
  }

  /// The texts with every token but the first drawn anew after those before it.
  List<int[]> redrawn(List<int[]> texts, long seed) {
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
        progress.update("redrawing", layer + 1, layers, "layer");
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
