/// Runs made visible: the dashboard, one-file HTML reports, Markdown for pull requests, and
/// Prometheus metrics.
///
/// One set of scripts draws both the dashboard and a report: the server hands them data, a report
/// carries it. Charts are drawn by Chart.js (MIT), which is packed into the jar with its licence;
/// nothing is loaded from elsewhere.
@NullMarked
package org.modegpt.report;

import org.jspecify.annotations.NullMarked;
