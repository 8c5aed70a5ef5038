package org.modegpt.cli;

import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import org.jspecify.annotations.Nullable;
import org.modegpt.report.DashboardServer;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/// `modegpt dashboard`: serves the page until it is interrupted.
@Command(
    name = "dashboard",
    description = "Serve a page with all runs, on this machine alone unless told.",
    footer = {
      "",
      "Examples:",
      "  modegpt dashboard",
      "  modegpt dashboard --host 0.0.0.0 --port 9000    for others: prints an address with a token"
    })
public final class DashboardCommand implements Callable<Integer> {
  @Mixin private final StoreOption store = new StoreOption();

  @Option(
      names = "--host",
      defaultValue = "127.0.0.1",
      description = "Address to listen on (default: ${DEFAULT-VALUE}).")
  private String host = "";

  @Option(
      names = {"-p", "--port"},
      defaultValue = "8080",
      description = "Port, 0 for a free one (default: ${DEFAULT-VALUE}).")
  private int port;

  @Option(
      names = "--token",
      description =
          "What a browser must show; made up when the address is not loopback. Better given as MODEGPT_DASHBOARD_TOKEN.",
      defaultValue = "${env:MODEGPT_DASHBOARD_TOKEN:-" + Option.NULL_VALUE + "}")
  private @Nullable String token;

  @Override
  public Integer call() throws InterruptedException {
    try (DashboardServer server = DashboardServer.start(store.settings(), host, port, token)) {
      store.out().println(store.json ? "{\"url\": \"" + server.url() + "\"}" : server.url());
      store.out().flush();
      store.say(
          "Serving "
              + store.settings().location().replaceAll("//[^/@]*@", "//")
              + "; stop with Ctrl-C.");
      new CountDownLatch(1).await();
    }
    return 0;
  }
}
