package org.modegpt.hub;

import java.io.IOException;
import java.net.Authenticator;
import java.net.InetSocketAddress;
import java.net.PasswordAuthentication;
import java.net.Proxy;
import java.net.ProxySelector;
import java.net.SocketAddress;
import java.net.URI;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;

/// Proxies by the environment, as other programs read it: `https_proxy`, `http_proxy`, `all_proxy`
/// and `no_proxy`, in lower or upper case. `no_proxy` lists hosts, optionally with a port, a domain
/// meaning its subdomains too; `*` is all. Where no variable is set, the JVM's own settings hold.
final class EnvironmentProxy extends ProxySelector {
  private final Map<String, String> environment;

  EnvironmentProxy(Map<String, String> environment) {
    this.environment = environment;
  }

  @Override
  public List<Proxy> select(URI uri) {
    String host = uri.getHost().toLowerCase(Locale.ROOT);
    if (bypassed(host, uri.getPort())) {
      return List.of(Proxy.NO_PROXY);
    }
    URI proxy = proxy(uri.getScheme());
    if (proxy != null) {
      return List.of(
          new Proxy(Proxy.Type.HTTP, new InetSocketAddress(proxy.getHost(), port(proxy))));
    }
    ProxySelector standard = ProxySelector.getDefault();
    return standard == null ? List.of(Proxy.NO_PROXY) : standard.select(uri);
  }

  @Override
  public void connectFailed(URI uri, SocketAddress address, IOException e) {
    // The request fails with the reason; there is no other proxy to try.
  }

  /// Gives the user and password that are part of a proxy's address.
  Authenticator authenticator() {
    return new Authenticator() {
      @Override
      protected @Nullable PasswordAuthentication getPasswordAuthentication() {
        for (String scheme : List.of("https", "http")) {
          URI proxy = proxy(scheme);
          boolean asked =
              getRequestorType() == RequestorType.PROXY
                  && proxy != null
                  && proxy.getRawUserInfo() != null
                  && proxy.getHost().equalsIgnoreCase(getRequestingHost())
                  && port(proxy) == getRequestingPort();
          if (asked) {
            String[] user = proxy.getRawUserInfo().split(":", 2);
            return new PasswordAuthentication(
                decoded(user[0]), (user.length < 2 ? "" : decoded(user[1])).toCharArray());
          }
        }
        return null;
      }
    };
  }

  private static String decoded(String text) {
    return URLDecoder.decode(text.replace("+", "%2B"), StandardCharsets.UTF_8);
  }

  /// Whether some proxy wants a password.
  boolean hasPassword() {
    URI https = proxy("https");
    URI http = proxy("http");
    return (https != null && https.getRawUserInfo() != null)
        || (http != null && http.getRawUserInfo() != null);
  }

  private @Nullable URI proxy(String scheme) {
    String name = scheme + "_proxy";
    String value = variable(name);
    if (value.isEmpty()) {
      name = "all_proxy";
      value = variable(name);
    }
    if (value.isEmpty()) {
      return null;
    }
    try {
      URI uri = URI.create(value.contains("://") ? value : "http://" + value);
      if (uri.getHost() != null && uri.getScheme().startsWith("http")) {
        return uri;
      }
    } catch (IllegalArgumentException e) {
      throw new UserException(name + " is no address of a proxy", e);
    }
    throw new UserException(name + " is no address of an HTTP proxy like http://host:port");
  }

  private static int port(URI proxy) {
    return proxy.getPort() > 0 ? proxy.getPort() : proxy.getScheme().equals("https") ? 443 : 80;
  }

  private boolean bypassed(String host, int port) {
    for (String entry : variable("no_proxy").toLowerCase(Locale.ROOT).split("[,\\s]+", -1)) {
      String name = entry;
      int colon = entry.lastIndexOf(':');
      if (colon > 0 && entry.indexOf(':') == colon) {
        if (!entry.substring(colon + 1).equals(Integer.toString(port))) {
          continue;
        }
        name = entry.substring(0, colon);
      }
      String domain = name.replaceFirst("^\\*?\\.", "");
      boolean match =
          name.equals("*")
              || (!domain.isEmpty() && (host.equals(domain) || host.endsWith("." + domain)));
      if (match) {
        return true;
      }
    }
    return false;
  }

  private String variable(String name) {
    String lower = environment.getOrDefault(name, "");
    return lower.isEmpty()
        ? environment.getOrDefault(name.toUpperCase(Locale.ROOT), "").strip()
        : lower.strip();
  }
}
