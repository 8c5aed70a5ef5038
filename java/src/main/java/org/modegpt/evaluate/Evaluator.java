package org.modegpt.evaluate;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BiConsumer;
import org.jspecify.annotations.Nullable;
import org.modegpt.Progress;
import org.modegpt.Settings;
import org.modegpt.backend.Backend;
import org.modegpt.evaluate.Evaluation.Subject;
import org.modegpt.model.Transformer;
import org.modegpt.tasks.DataFolders;
import org.modegpt.tasks.OutputType;
import org.modegpt.tasks.TaskDefinition;

/// Runs tasks on models.
///
/// @param cacheFolder where answers are kept, a file for each model; null to keep none
/// @param cutLong whether a context longer than the model's is cut from the left and counted; else
///   its task fails
/// @param footprint whether size and speed are measured too
public record Evaluator(
    List<TaskDefinition> tasks,
    DataFolders folders,
    @Nullable Path cacheFolder,
    boolean cutLong,
    boolean footprint) {

  /// A model's results. A task that fails is a result with an error; the others are run.
  ///
  /// @param baseline what divergence tasks compare with; null to leave them out
  /// @param told each result as it comes, with the model's name
  public Subject run(
      Path path,
      @Nullable Path baseline,
      Backend backend,
      Progress progress,
      BiConsumer<String, TaskResult> told) {
    Footprint measured = footprint ? Footprint.of(path, backend) : null;
    try (Transformer model = Transformer.open(path)) {
      List<TaskResult> results = new ArrayList<>();
      String name = model.directory().name();
      try (ModelRun run =
          new ModelRun(
              model,
              backend,
              folders,
              cutLong ? ModelRun.TooLong.CUT : ModelRun.TooLong.FAIL,
              cacheFile(model, backend))) {
        for (TaskDefinition task : tasks) {
          Progress.checkCancelled();
          TaskResult result;
          if (task.type() != OutputType.DIVERGENCE) {
            result = run.run(task, progress);
          } else if (baseline != null) {
            result = divergence(task, model, baseline, backend, progress);
          } else {
            continue;
          }
          results.add(result);
          told.accept(name, result);
        }
      }
      long bytes = model.bytes();
      return new Subject(
          name,
          path.toString(),
          model.directory().hash(),
          model.parameters(),
          bytes,
          measured,
          results);
    }
  }

  private TaskResult divergence(
      TaskDefinition task, Transformer model, Path path, Backend backend, Progress progress) {
    try (Transformer baseline = Transformer.open(path)) {
      return Divergence.of(task, folders, model, baseline, backend, progress);
    }
  }

  /// Answers depend on the weights, and in the last digits on where and how they are computed.
  private @Nullable Path cacheFile(Transformer model, Backend backend) {
    if (cacheFolder == null) {
      return null;
    }
    String gemm = Settings.get("gemm");
    String name =
        model.directory().hash().substring(0, 24)
            + "-"
            + backend.name().replaceAll("\\W", "")
            + (gemm == null || gemm.equals("f32") ? "" : "-" + gemm);
    return cacheFolder.resolve(name + ".jsonl");
  }
}
