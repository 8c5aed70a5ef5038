package org.modegpt.monitor;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.modegpt.alerts.AlertsAfterRun;
import org.modegpt.calibrate.Statistics;
import org.modegpt.model.DecodeObserver;
import org.modegpt.model.Transformer;
import org.modegpt.runs.ModelUse;
import org.modegpt.runs.Run;
import org.modegpt.runs.RunRecorder;
import org.modegpt.runs.RunSettings;

/// Watches a model at work and records it as runs of kind `monitor`, one for each
/// [Options#runLength], so that alert rules judge them like any other. Every interval adds latency,
/// speed, surprise and drift to the run's series; memory and processor use are sampled as always.
///
/// ```java
/// try (Modegpt engine = Modegpt.open(folder);
///     Monitor monitor = Monitor.open(RunSettings.fromEnvironment(), engine.model(), Monitor.Options.of(statistics))) {
///   engine.generate(prompt, 64, sampling, sink, monitor.request());
/// }
/// ```
///
/// Any number of threads may generate at once, each with a request of its own. `perplexity_proxy`
/// is the exponential of how surprised the model is, on average, of the tokens that were chosen
/// (every 32nd is looked at): no measure of quality, but a change in it shows that the model, its
/// sampling or its prompts are not what they were.
public final class Monitor implements AutoCloseable {
  private static final int SCORE_EVERY = 32;
  private static final int TEXT = 1024;
  private static final int LEAST_TEXT = 64;

  /// How to watch.
  ///
  /// @param interval between points of the series
  /// @param runLength how long a run lasts until the next begins
  /// @param statistics of the calibration, for the drift; null to leave it out
  public record Options(Duration interval, Duration runLength, @Nullable Path statistics) {
    /// A point each half minute, a run each hour.
    public static Options of(@Nullable Path statistics) {
      return new Options(Duration.ofSeconds(30), Duration.ofHours(1), statistics);
    }
  }

  private final RunRecorder recorder;
  private final Transformer model;
  private final Options options;
  private final @Nullable Drift drift;
  private final ScheduledExecutorService thread =
      Executors.newSingleThreadScheduledExecutor(
          Thread.ofPlatform().daemon().name("modegpt-monitor").factory());
  private final Future<?> ticking;
  private final int[] text = new int[TEXT];
  private int written;
  private volatile Window now = new Window();
  private volatile Window whole = new Window();
  private Run run;
  private long began;
  private double driftSum;
  private int drifts;

  private Monitor(RunRecorder recorder, Transformer model, Options options, @Nullable Drift drift) {
    this.recorder = recorder;
    this.model = model;
    this.options = options;
    this.drift = drift;
    this.run = begin();
    long millis = options.interval().toMillis();
    this.ticking = thread.scheduleWithFixedDelay(this::tick, millis, millis, TimeUnit.MILLISECONDS);
  }

  /// Begins to watch; records where `settings` say.
  public static Monitor open(RunSettings settings, Transformer model, Options options) {
    Path statistics = options.statistics();
    Drift drift = null;
    if (statistics != null) {
      try (Statistics file = Statistics.open(statistics)) {
        drift = new Drift(model, file);
      }
    }
    RunRecorder recorder =
        RunRecorder.open(settings).afterRun(new AlertsAfterRun(settings.alertRules(), System.err));
    return new Monitor(recorder, model, options, drift);
  }

  private Run begin() {
    Run begun = recorder.begin("monitor", Map.of("model", model.directory().name()));
    begun.model(ModelUse.SUBJECT, model.directory().path(), model.parameters());
    began = System.nanoTime();
    driftSum = 0;
    drifts = 0;
    return begun;
  }

  /// What to give to one call of `generate`.
  public DecodeObserver request() {
    return new Request();
  }

  private final class Request implements DecodeObserver {
    private int count;

    @Override
    public void prompt(int[] ids, long nanos) {
      now.prompt(ids.length, nanos);
      whole.prompt(ids.length, nanos);
      remember(ids);
    }

    @Override
    public void token(int id, float[] logits, long nanos) {
      if (count > 0) {
        now.token(nanos);
        whole.token(nanos);
      }
      if (count++ % SCORE_EVERY == 0) {
        double nats = surprise(logits, id);
        now.surprise(nats);
        whole.surprise(nats);
      }
      remember(id);
    }
  }

  /// `-log p(id)`.
  static double surprise(float[] logits, int id) {
    float most = Float.NEGATIVE_INFINITY;
    for (float logit : logits) {
      most = Math.max(most, logit);
    }
    double sum = 0;
    for (float logit : logits) {
      sum += Math.exp(logit - most);
    }
    return Math.log(sum) + most - logits[id];
  }

  private void remember(int... ids) {
    if (drift == null) {
      return;
    }
    synchronized (text) {
      for (int id : ids) {
        text[written % TEXT] = id;
        written = written == Integer.MAX_VALUE ? TEXT : written + 1;
      }
    }
  }

  /// What was written since the last call; nothing while that is too little to judge.
  private int[] recentText() {
    synchronized (text) {
      if (written < LEAST_TEXT) {
        return new int[0];
      }
      int[] recent = Arrays.copyOf(text, Math.min(written, TEXT));
      written = 0;
      return recent;
    }
  }

  private synchronized void tick() {
    try {
      Window past = now;
      now = new Window();
      past.report(run::sample);
      Drift meter = drift;
      int[] recent = meter == null ? new int[0] : recentText();
      if (meter != null && recent.length > 0) {
        double value = meter.of(recent);
        driftSum += value;
        drifts++;
        run.sample("drift", value);
      }
      if (System.nanoTime() - began >= options.runLength().toNanos()) {
        end();
        run = begin();
      }
    } catch (RuntimeException e) {
      // Watching must never harm what is watched; the run says that it was cut short.
      System.err.println("modegpt monitor: " + e.getMessage());
      run.fail(e);
      thread.shutdown();
    }
  }

  private void end() {
    Window all = whole;
    whole = new Window();
    all.report(run::metric);
    if (drifts > 0) {
      run.metric("drift", driftSum / drifts);
    }
    run.finish();
  }

  @Override
  public void close() {
    ticking.cancel(false);
    thread.shutdown();
    try {
      if (!thread.awaitTermination(10, TimeUnit.SECONDS)) {
        throw new UncheckedIOException(new IOException("the monitor does not end"));
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    tick();
    end();
    recorder.close();
    if (drift != null) {
      drift.close();
    }
  }
}
