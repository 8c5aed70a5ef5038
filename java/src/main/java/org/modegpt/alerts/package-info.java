/// Alerts: rules that compare a run with those before it, and where an alert goes.
///
/// Rules are YAML ([AlertRules]). A rule looks at a metric of comparable runs, takes the median of
/// the last few and compares it with the median of a window before them ([AlertRule]). It fires
/// when the change is both large in itself and large against the window's own spread, measured by
/// the median absolute deviation, which a few outliers do not move. Rules are evaluated after each
/// run ([AlertsAfterRun]) and by `modegpt alerts check`; what fired is kept in the run store
/// ([org.modegpt.runs.AlertLog]), printed, and sent to a webhook ([Webhook]).
@NullMarked
package org.modegpt.alerts;

import org.jspecify.annotations.NullMarked;
