#!/bin/sh
# Prints the home of a JDK 25 or later, for the launcher and the build. Looks at JAVA_HOME, the java on the PATH, then the usual
# installation folders; prefers the first that is new enough. Exits 1 with one line of advice when there is none.
# An argument "build" also requires javac.
need=25

major_of() { # $1 = home; prints the major version, from the release file every JDK carries
  sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$1/release" 2>/dev/null
}

usable() {
  [ -n "$1" ] && [ -x "$1/bin/java" ] || return 1
  [ "$mode" != build ] || [ -x "$1/bin/javac" ] || return 1
  version=$(major_of "$1")
  [ -n "$version" ] && [ "$version" -ge "$need" ]
}

mode=${1-}
on_path=$(command -v java 2>/dev/null) && on_path=$(readlink -f "$on_path" 2>/dev/null) && on_path=${on_path%/bin/java}
for home in "${JAVA_HOME-}" "$on_path" /usr/lib/jvm/* /opt/jdk* /opt/java/* /usr/java/* "$HOME"/.sdkman/candidates/java/* \
  "$HOME"/.jdks/* /Library/Java/JavaVirtualMachines/*/Contents/Home; do
  if usable "$home"; then
    printf '%s\n' "$home"
    exit 0
  fi
done
echo "modegpt needs JDK $need or later: install one (for example Temurin, https://adoptium.net) or set JAVA_HOME to it." >&2
exit 1
