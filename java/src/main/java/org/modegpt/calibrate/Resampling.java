package org.modegpt.calibrate;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.modegpt.Progress;
import org.modegpt.backend.Backend;
import org.modegpt.model.LanguageHead;
import org.modegpt.model.Residents;
import org.modegpt.model.StreamingPass;
import org.modegpt.model.Transformer;
import org.modegpt.model.Transformer.Residence;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Sequences of which every token but the first is drawn by the model from what it predicts there
/// after the true text. What it then reads is likely word by word and yet no text of the given
/// kind: a share of such sequences makes calibration depend less on the text it was given.
public final class Resampling {
  private Resampling() {}

  /// Sends the true texts through the model.
  @FunctionalInterface
  public interface Walk {
    /// Loads one block after another.
    Walk LOADING = (pass, layer) -> pass.block(layer, StreamingPass.LayerTap.NONE);

    void block(StreamingPass pass, int layer);
  }

  /// The same sequences, an evenly spread share of them resampled and put last: what is gathered of
  /// the first sequences alone is of true text.
  ///
  /// @param sequences equally long
  /// @param share in `[0, 1]`
  public static List<int[]> of(
      Transformer model,
      Backend backend,
      List<int[]> sequences,
      double share,
      long seed,
      Progress progress) {
    return of(model, backend, sequences, share, seed, Walk.LOADING, progress);
  }

  /// @param walk not called when nothing is resampled
  public static List<int[]> of(
      Transformer model,
      Backend backend,
      List<int[]> sequences,
      double share,
      long seed,
      Walk walk,
      Progress progress) {
    List<int[]> result = new ArrayList<>();
    List<int[]> texts = new ArrayList<>();
    for (int i = 0; i < sequences.size(); i++) {
      boolean chosen = Math.floor((i + 1) * share) > Math.floor(i * share);
      (chosen ? texts : result).add(sequences.get(i));
    }
    if (texts.isEmpty()) {
      return sequences;
    }
    int[] drawn = drawn(model, backend, texts, seed, walk, progress);
    for (int i = 0; i < texts.size(); i++) {
      int[] text = texts.get(i).clone();
      System.arraycopy(drawn, i * text.length, text, 1, text.length - 1);
      result.add(text);
    }
    return result;
  }

  /// A token after every token of the texts.
  private static int[] drawn(
      Transformer model,
      Backend backend,
      List<int[]> texts,
      long seed,
      Walk walk,
      Progress progress) {
    int layers = model.config().layers();
    try (Arena call = Arena.ofShared();
        StreamingPass pass =
            new StreamingPass(backend, model, texts.size(), texts.getFirst().length)) {
      pass.embed(texts);
      for (int layer = 0; layer < layers; layer++) {
        walk.block(pass, layer);
        progress.update("resampling", layer + 1, layers, "layer");
      }
      long rows = pass.stream().rows();
      Tensor ids = backend.allocate(call, DType.I32, 1, rows);
      try (LanguageHead head = new LanguageHead(backend, model, Residence.F32)) {
        head.sample(pass.stream(), uniforms(backend, call, rows, seed), ids);
      }
      return Residents.download(backend, call, ids).toInts();
    }
  }

  /// Random numbers in `[0, 1)`, F32 `[1, count]` on the device.
  static Tensor uniforms(Backend backend, Arena arena, long count, long seed) {
    SplittableRandom random = new SplittableRandom(seed);
    Tensor uniforms = Tensor.allocate(arena, DType.F32, 1, count);
    for (long i = 0; i < count; i++) {
      uniforms.set(0, i, random.nextInt(1 << 24) * 0x1p-24);
    }
    return Residents.upload(backend, arena, uniforms);
  }
}
