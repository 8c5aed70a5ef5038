package org.modegpt.evaluate;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import org.modegpt.Progress;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.io.Json;
import org.modegpt.model.LanguageHead;
import org.modegpt.model.Residents;
import org.modegpt.model.StreamingPass;
import org.modegpt.model.Transformer;
import org.modegpt.model.Transformer.Residence;
import org.modegpt.tasks.DataFolders;
import org.modegpt.tasks.Metric.Aggregation;
import org.modegpt.tasks.TaskDefinition;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;
import tools.jackson.databind.node.ObjectNode;

/// How far a model's next-token predictions on a text are from those of its baseline: KL divergence
/// of the baseline to it, how often both hold the same token most likely, and how often only one of
/// them holds the true next token most likely (flips in both directions). Blocks of the text are
/// the items.
final class Divergence {
  /// Memory for the residual streams of the blocks that pass the models together.
  private static final long STREAM_BYTES = 256L << 20;

  private final Transformer model;
  private final Transformer baseline;
  private final Backend backend;
  private final TextBlocks text;
  private final double[] kl;
  private final double[] same;
  private final double[] lost;
  private final double[] gained;

  private Divergence(Transformer model, Transformer baseline, Backend backend, TextBlocks text) {
    this.model = model;
    this.baseline = baseline;
    this.backend = backend;
    this.text = text;
    this.kl = new double[text.count()];
    this.same = new double[text.count()];
    this.lost = new double[text.count()];
    this.gained = new double[text.count()];
  }

  static TaskResult of(
      TaskDefinition task,
      DataFolders folders,
      Transformer model,
      Transformer baseline,
      Backend backend,
      Progress progress) {
    long start = System.nanoTime();
    try {
      if (model.config().vocabSize() != baseline.config().vocabSize()) {
        throw new UserException(
            "task %s: the models have vocabularies of %d and %d tokens; divergence compares models of one vocabulary"
                .formatted(task.name(), model.config().vocabSize(), baseline.config().vocabSize()));
      }
      TextBlocks text = TextBlocks.of(task, folders, baseline);
      Divergence divergence = new Divergence(model, baseline, backend, text);
      divergence.run(task.name(), progress);
      return divergence.result(task, (System.nanoTime() - start) / 1e9);
    } catch (UserException e) {
      return TaskResult.failed(task, String.valueOf(e.getMessage()));
    }
  }

  private void run(String phase, Progress progress) {
    long perBlock = 8L * text.blockLength() * model.config().hiddenSize();
    int group = Math.clamp(STREAM_BYTES / perBlock, 1, text.count());
    try (LanguageHead ours = new LanguageHead(backend, model, Residence.F32);
        LanguageHead theirs = new LanguageHead(backend, baseline, Residence.F32)) {
      for (int from = 0; from < text.count(); from += group) {
        int to = Math.min(text.count(), from + group);
        progress.update(phase, from, text.count(), "block");
        List<int[]> ids = new ArrayList<>();
        for (int b = from; b < to; b++) {
          ids.add(text.block(b));
        }
        try (StreamingPass a = pass(model, ids);
            StreamingPass b = pass(baseline, ids)) {
          for (int s = 0; s < ids.size(); s++) {
            compare(from + s, ids.get(s), ours, theirs, a.sequence(s, s + 1), b.sequence(s, s + 1));
          }
        }
      }
    }
    progress.update(phase, text.count(), text.count(), "block");
  }

  private StreamingPass pass(Transformer of, List<int[]> ids) {
    StreamingPass pass = new StreamingPass(backend, of, ids.size(), text.blockLength());
    pass.embed(ids);
    for (int layer = 0; layer < of.config().layers(); layer++) {
      pass.block(layer, StreamingPass.LayerTap.NONE);
    }
    return pass;
  }

  private void compare(
      int block, int[] ids, LanguageHead ours, LanguageHead theirs, Tensor a, Tensor b) {
    int predicted = ids.length - 1;
    int chunk = (int) Math.min(ours.chunkRows(), theirs.chunkRows());
    for (int from = 0; from < predicted; from += chunk) {
      Progress.checkCancelled();
      int to = Math.min(predicted, from + chunk);
      int[] targets = Arrays.copyOfRange(ids, from + 1, to + 1);
      try (Arena call = Arena.ofShared()) {
        Tensor p = theirs.logits(b.rows(from, to));
        Tensor q = ours.logits(a.rows(from, to));
        Tensor divergences = backend.allocate(call, DType.F64, 1, to - from);
        backend.klDivergence(p, q, divergences);
        int[] before = best(p, targets, call);
        int[] after = best(q, targets, call);
        double[] each = Residents.doubles(backend, divergences);
        for (int i = 0; i < targets.length; i++) {
          kl[block] += each[i];
          same[block] += before[i] == after[i] ? 1 : 0;
          lost[block] += before[i] == targets[i] && after[i] != targets[i] ? 1 : 0;
          gained[block] += before[i] != targets[i] && after[i] == targets[i] ? 1 : 0;
        }
      }
    }
    if (!Double.isFinite(kl[block])) {
      throw new UserException(
          "%s block %d: a model gives non-finite logits; the checkpoint is damaged"
              .formatted(text.name(), block));
    }
  }

  private int[] best(Tensor logits, int[] targets, Arena call) {
    Tensor nll = backend.allocate(call, DType.F64, 1, targets.length);
    Tensor best = backend.allocate(call, DType.I32, 1, targets.length);
    backend.nll(logits, Residents.ints(backend, call, targets), nll, best);
    return Residents.download(backend, call, best).toInts();
  }

  private TaskResult result(TaskDefinition task, double seconds) {
    List<Measure> measures =
        List.of(
            measure("kl_divergence", false, kl),
            measure("top1_agreement", true, same),
            measure("right_to_wrong", false, lost),
            measure("wrong_to_right", true, gained));
    List<ObjectNode> samples = new ArrayList<>();
    for (int b = 0; b < text.count(); b++) {
      ObjectNode sample = Json.MAPPER.createObjectNode();
      sample.put("doc_id", b);
      sample.put("kl_divergence", kl[b] / (text.blockLength() - 1));
      samples.add(sample);
    }
    return new TaskResult(
        TaskResult.TaskId.of(task),
        measures,
        text.count(),
        0,
        text.blockLength(),
        0,
        text.count(),
        seconds,
        "",
        samples);
  }

  /// Per predicted token, blocks being the items.
  private Measure measure(String name, boolean higherIsBetter, double[] sums) {
    double[] weights = new double[sums.length];
    Arrays.fill(weights, text.blockLength() - 1.0);
    return new Measure(
        name,
        "none",
        higherIsBetter,
        Aggregation.MEAN,
        sums,
        weights,
        Collections.nCopies(sums.length, ""));
  }
}
