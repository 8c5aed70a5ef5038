#!/bin/sh
# Builds and runs the benchmarks; arguments go to JMH. Always builds first, so that no stale class is measured.
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root" || exit 1
./mvnw -q -B -Dmaven.test.skip -Dspotless.check.skip package dependency:copy-dependencies -pl java,bench -DincludeScope=runtime \
  -DoutputDirectory=target/lib || exit 1
java_home=$(sh tools/find-jdk.sh) || exit 1
exec "$java_home/bin/java" -cp "bench/target/classes:java/target/modegpt.jar:bench/target/lib/*:java/target/lib/*" \
  --enable-native-access=ALL-UNNAMED org.openjdk.jmh.Main -rf json -rff bench/target/jmh.json "$@"
