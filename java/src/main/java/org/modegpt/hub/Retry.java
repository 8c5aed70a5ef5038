package org.modegpt.hub;

import java.io.IOException;
import java.security.cert.CertificateException;
import java.time.Duration;
import java.util.concurrent.CancellationException;
import java.util.function.Consumer;
import javax.net.ssl.SSLPeerUnverifiedException;
import org.modegpt.UserException;

/// Repeats what fails for reasons that may pass, with growing pauses or as long as the server asks
/// for. Not thread-safe: one for each piece of work.
final class Retry {
  private static final int ATTEMPTS = 5;
  private static final Duration LONGEST_WAIT = Duration.ofMinutes(10);

  /// Something that can fail.
  @FunctionalInterface
  interface Attempt<T> {
    T run() throws IOException;
  }

  private final Duration firstPause;
  private final Consumer<String> say;
  private int failures;

  Retry(Duration firstPause, Consumer<String> say) {
    this.firstPause = firstPause;
    this.say = say;
  }

  /// Data arrived, so the connection works: counting starts anew.
  void progressed() {
    failures = 0;
  }

  /// @param what is being done, for messages
  /// @throws UserException when it keeps failing
  <T> T run(String what, Attempt<T> attempt) {
    while (true) {
      try {
        return attempt.run();
      } catch (IOException e) {
        if (untrusted(e)) {
          throw new UserException(
              "%s: no secure connection: %s; where a proxy has a certificate of its own, name a trust store in MODEGPT_JAVA_OPTS (-Djavax.net.ssl.trustStore)"
                  .formatted(what, message(e)),
              e);
        }
        failures++;
        Duration wait = pause(e);
        if (failures >= ATTEMPTS || wait.compareTo(LONGEST_WAIT) > 0) {
          throw new UserException(
              "%s: %s%s".formatted(what, message(e), advice(e, failures, wait)), e);
        }
        say.accept(
            "%s: %s; trying again in %.0f s".formatted(what, message(e), wait.toMillis() / 1000.0));
        sleep(wait);
      }
    }
  }

  /// Whether the other side's certificate is the trouble, which does not pass.
  private static boolean untrusted(Throwable e) {
    for (Throwable t = e; t != null; t = t.getCause()) {
      if (t instanceof CertificateException || t instanceof SSLPeerUnverifiedException) {
        return true;
      }
    }
    return false;
  }

  private Duration pause(IOException e) {
    return e instanceof TransientFailure failure && failure.wait != null
        ? failure.wait
        : firstPause.multipliedBy(1L << (failures - 1));
  }

  private static String advice(IOException e, int failures, Duration wait) {
    if (!(e instanceof TransientFailure)) {
      return "; after %d attempts; check the network, HTTPS_PROXY and HF_ENDPOINT"
          .formatted(failures);
    }
    return wait.compareTo(LONGEST_WAIT) > 0
        ? "; it asks to wait %d minutes".formatted(wait.toMinutes())
        : "; after %d attempts, try again later".formatted(failures);
  }

  static String message(IOException e) {
    String text = e.getMessage();
    for (Throwable t = e.getCause(); text == null && t != null; t = t.getCause()) {
      text = t.getMessage();
    }
    return text == null || text.isBlank()
        ? e.getClass().getSimpleName().replace("Exception", "")
        : text.lines().findFirst().orElse("");
  }

  /// What an interrupted thread throws; the interrupt flag is set again.
  static CancellationException cancelled(InterruptedException e) {
    Thread.currentThread().interrupt();
    CancellationException cancelled = new CancellationException("cancelled");
    cancelled.initCause(e);
    return cancelled;
  }

  private static void sleep(Duration wait) {
    try {
      Thread.sleep(wait);
    } catch (InterruptedException e) {
      throw cancelled(e);
    }
  }
}
