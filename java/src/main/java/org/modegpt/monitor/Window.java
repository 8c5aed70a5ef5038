package org.modegpt.monitor;

import java.util.concurrent.atomic.DoubleAdder;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.BiConsumer;
import org.modegpt.runs.Metrics;

/// What happened in a stretch of time; many threads add to it at once.
final class Window {
  static final String LATENCY = "token_latency_seconds";
  static final String PROXY = "perplexity_proxy";

  private final Histogram tokens = new Histogram();
  private final Histogram firstTokens = new Histogram();
  private final LongAdder requests = new LongAdder();
  private final LongAdder promptTokens = new LongAdder();
  private final LongAdder promptNanos = new LongAdder();
  private final LongAdder newTokens = new LongAdder();
  private final LongAdder decodeNanos = new LongAdder();
  private final LongAdder scored = new LongAdder();
  private final DoubleAdder surprise = new DoubleAdder();

  void prompt(int count, long nanos) {
    requests.increment();
    promptTokens.add(count);
    promptNanos.add(nanos);
    firstTokens.add(nanos);
  }

  void token(long nanos) {
    newTokens.increment();
    decodeNanos.add(nanos);
    tokens.add(nanos);
  }

  void surprise(double nats) {
    scored.increment();
    surprise.add(nats);
  }

  /// Tells what there is as names and values.
  void report(BiConsumer<String, Double> sink) {
    if (requests.sum() == 0 && newTokens.sum() == 0) {
      return;
    }
    sink.accept("requests", (double) requests.sum());
    if (promptNanos.sum() > 0) {
      sink.accept(Metrics.PROMPT_TOKENS_PER_SECOND, promptTokens.sum() * 1e9 / promptNanos.sum());
      sink.accept(Metrics.FIRST_TOKEN_SECONDS, firstTokens.quantile(0.5));
    }
    if (newTokens.sum() > 0) {
      sink.accept("new_tokens", (double) newTokens.sum());
      sink.accept(Metrics.TOKENS_PER_SECOND, newTokens.sum() * 1e9 / decodeNanos.sum());
      sink.accept(LATENCY, tokens.quantile(0.5));
      sink.accept(LATENCY + "_p99", tokens.quantile(0.99));
    }
    if (scored.sum() > 0) {
      sink.accept(PROXY, Math.exp(surprise.sum() / scored.sum()));
    }
  }
}
