package org.modegpt.evaluate;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import org.modegpt.Progress;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.model.LanguageHead;
import org.modegpt.model.StreamingPass;
import org.modegpt.model.Transformer;
import org.modegpt.model.Transformer.Residence;

/// Perplexity of a model on consecutive blocks of a text: every token of a block but its first is
/// predicted from those before it in the block.
///
/// @param blockLength tokens per block
/// @param blocks number of whole blocks; what is left at the end of the text is not used
/// @param predicted tokens predicted
/// @param meanNll mean negative log-likelihood of a predicted token, nats
/// @param standardError of `meanNll`, from the spread over tokens
/// @param bitsPerByte `meanNll` in bits times tokens per UTF-8 byte of the whole text
/// @param seconds of the forward passes, loading of weights included
public record Perplexity(
    int blockLength,
    int blocks,
    long predicted,
    double meanNll,
    double standardError,
    double bitsPerByte,
    double seconds) {

  /// Memory for the residual stream of the blocks that pass the model together.
  private static final long STREAM_BYTES = 512L << 20;

  public double perplexity() {
    return Math.exp(meanNll);
  }

  /// Half-width of one standard error around {@link #perplexity()}.
  public double perplexityError() {
    return perplexity() * standardError;
  }

  public double tokensPerSecond() {
    return (double) blocks * blockLength / seconds;
  }

  /// A text cut into blocks.
  ///
  /// @param ids tokens of the whole text
  /// @param bytes UTF-8 bytes of the text
  /// @param maxBlocks at most this many blocks, from the start; 0 for all
  /// @param bos put in the place of every block's first token
  public record Text(int[] ids, long bytes, int blockLength, int maxBlocks, OptionalInt bos) {

    int blocks() {
      int blocks = ids.length / blockLength;
      if (blocks == 0) {
        throw new UserException(
            "the text has "
                + ids.length
                + " tokens, fewer than one block of "
                + blockLength
                + "; give more text or a smaller --ctx-size");
      }
      return maxBlocks > 0 ? Math.min(blocks, maxBlocks) : blocks;
    }

    List<int[]> cut(int from, int to) {
      List<int[]> part = new ArrayList<>();
      for (int b = from; b < to; b++) {
        int[] block = Arrays.copyOfRange(ids, b * blockLength, (b + 1) * blockLength);
        if (bos.isPresent()) {
          block[0] = bos.getAsInt();
        }
        part.add(block);
      }
      return part;
    }
  }

  public static Perplexity of(Transformer model, Backend backend, Text text, Progress progress) {
    int blockLength = text.blockLength();
    int blocks = text.blocks();
    long perBlock = 4L * blockLength * model.config().hiddenSize();
    int group = Math.clamp(STREAM_BYTES / perBlock, 1, blocks);
    long start = System.nanoTime();
    Sums sums = new Sums();
    int layers = model.config().layers();
    int groups = Math.ceilDiv(blocks, group);
    for (int g = 0; g < groups; g++) {
      int from = g * group;
      List<int[]> part = text.cut(from, Math.min(blocks, from + group));
      try (StreamingPass pass = new StreamingPass(backend, model, part.size(), blockLength)) {
        pass.embed(part);
        for (int layer = 0; layer < layers; layer++) {
          progress.update(
              "perplexity", (long) g * (layers + 1) + layer, (long) groups * (layers + 1), "layer");
          pass.block(layer, StreamingPass.LayerTap.NONE);
        }
        score(model, backend, pass, part, sums);
      }
    }
    progress.update(
        "perplexity", (long) groups * (layers + 1), (long) groups * (layers + 1), "layer");
    double seconds = (System.nanoTime() - start) / 1e9;
    double mean = sums.nll / sums.count;
    double variance = Math.max(0, sums.squares / sums.count - mean * mean);
    return new Perplexity(
        blockLength,
        blocks,
        sums.count,
        mean,
        Math.sqrt(variance / sums.count),
        mean / Math.log(2) * text.ids().length / text.bytes(),
        seconds);
  }

  private static final class Sums {
    double nll;
    double squares;
    long count;
  }

  private static void score(
      Transformer model, Backend backend, StreamingPass pass, List<int[]> part, Sums sums) {
    try (LanguageHead head = new LanguageHead(backend, model, Residence.F32)) {
      for (int s = 0; s < part.size(); s++) {
        Progress.checkCancelled();
        int[] targets = Arrays.copyOfRange(part.get(s), 1, part.get(s).length);
        double[] nll =
            head.negativeLogLikelihood(pass.sequence(s, s + 1).rows(0, targets.length), targets);
        for (double value : nll) {
          if (!Double.isFinite(value)) {
            throw new UserException(
                model.directory().path()
                    + ": the model gives non-finite logits; the checkpoint is damaged");
          }
          sums.nll += value;
          sums.squares += value * value;
        }
        sums.count += nll.length;
      }
    }
  }
}
