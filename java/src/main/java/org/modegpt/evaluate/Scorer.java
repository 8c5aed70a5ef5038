package org.modegpt.evaluate;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;
import org.modegpt.Progress;
import org.modegpt.backend.Backend;
import org.modegpt.evaluate.RequestEncoder.Encoded;
import org.modegpt.model.LanguageHead;
import org.modegpt.model.PackedPass;
import org.modegpt.model.Packing;
import org.modegpt.model.Transformer;
import org.modegpt.model.Transformer.Residence;
import org.modegpt.tasks.Outcome.Likelihood;
import org.modegpt.tensor.Tensor;

/// Log-likelihoods of many continuations. Requests are ordered so that what they share stands
/// together and is computed once ({@link Packing}); large batches pass the model one block at a
/// time; the output matrix is applied only where a token is scored.
///
/// Holds the output matrix until closed; one serial stream.
final class Scorer implements AutoCloseable {
  /// Rows of a batch: enough that loading a block is a small part, little enough that a killed run
  /// loses no more than minutes.
  private static final long BATCH_WORK = 20_000_000_000_000L;

  private static final int MIN_BATCH_ROWS = 2 * PackedPass.CHUNK_ROWS;
  private static final int MAX_BATCH_ROWS = 32 * PackedPass.CHUNK_ROWS;

  /// Is given results as they come.
  @FunctionalInterface
  interface Sink {
    /// @param index of the request
    /// @param likelihood with a NaN when the model's logits are not finite
    void accept(int index, Likelihood likelihood);
  }

  private final Backend backend;
  private final Transformer model;
  private final LanguageHead head;
  private final int batchRows;

  Scorer(Backend backend, Transformer model) {
    this.backend = backend;
    this.model = model;
    this.head = new LanguageHead(backend, model, Residence.F32);
    this.batchRows =
        Math.clamp(
            BATCH_WORK / Math.max(1, 2 * model.config().matrixParameters()),
            MIN_BATCH_ROWS,
            MAX_BATCH_ROWS);
  }

  /// Scores requests in an order of its own; after every batch `batchDone` is called.
  void score(
      List<Encoded> requests, Sink sink, Runnable batchDone, String phase, Progress progress) {
    int[] order =
        IntStream.range(0, requests.size())
            .boxed()
            .sorted(Comparator.comparing(i -> requests.get(i).sequence(), Packing::compare))
            .mapToInt(Integer::intValue)
            .toArray();
    List<int[]> batches = batches(requests, order);
    long layers = model.config().layers() + 1L;
    long total = batches.size() * layers;
    for (int b = 0; b < batches.size(); b++) {
      long done = b * layers;
      progress.update(phase, done, total, "step");
      batch(
          requests,
          batches.get(b),
          sink,
          layer -> progress.update(phase, done + layer, total, "step"));
      batchDone.run();
    }
    progress.update(phase, total, total, "step");
  }

  private List<int[]> batches(List<Encoded> requests, int... order) {
    List<int[]> batches = new ArrayList<>();
    int from = 0;
    int rows = 0;
    for (int i = 0; i < order.length; i++) {
      Packing.Sequence next = requests.get(order[i]).sequence();
      int added =
          i == from
              ? next.tokens().length
              : Packing.added(requests.get(order[i - 1]).sequence(), next);
      if (i > from && rows + added > batchRows) {
        batches.add(Arrays.copyOfRange(order, from, i));
        from = i;
        rows = 0;
        added = next.tokens().length;
      }
      rows += added;
    }
    if (from < order.length) {
      batches.add(Arrays.copyOfRange(order, from, order.length));
    }
    return batches;
  }

  private void batch(
      List<Encoded> requests, int[] batch, Sink sink, java.util.function.IntConsumer layerDone) {
    Packing packing =
        Packing.of(
            Arrays.stream(batch).mapToObj(i -> requests.get(i).sequence()).toList(),
            PackedPass.CHUNK_ROWS);
    try (PackedPass pass = new PackedPass(backend, model, packing)) {
      pass.run(layerDone);
      int from = 0;
      while (from < batch.length) {
        int to = from;
        int rows = 0;
        while (to < batch.length
            && (to == from || rows + packing.scored()[to].length <= head.chunkRows())) {
          rows += packing.scored()[to++].length;
        }
        Progress.checkCancelled();
        scoreRows(requests, batch, packing, pass, from, to, sink);
        from = to;
      }
    }
  }

  /// Scores requests `from` (inclusive) to `to` (exclusive) of a batch.
  private void scoreRows(
      List<Encoded> requests,
      int[] batch,
      Packing packing,
      PackedPass pass,
      int from,
      int to,
      Sink sink) {
    int[] rows = Arrays.stream(packing.scored(), from, to).flatMapToInt(Arrays::stream).toArray();
    int[] targets =
        Arrays.stream(batch, from, to)
            .flatMap(i -> Arrays.stream(requests.get(i).targets()))
            .toArray();
    double[] nll = new double[targets.length];
    int[] best = new int[targets.length];
    try (Arena call = Arena.ofShared()) {
      Tensor gathered = pass.gather(rows, call);
      head.score(gathered, targets, nll, best);
      backend.sync();
    }
    int at = 0;
    for (int i = from; i < to; i++) {
      double sum = 0;
      boolean greedy = true;
      for (int t = 0; t < packing.scored()[i].length; t++, at++) {
        sum -= nll[at];
        greedy &= best[at] == targets[at];
      }
      sink.accept(batch[i], new Likelihood(sum, greedy));
    }
  }

  @Override
  public void close() {
    head.close();
  }
}
