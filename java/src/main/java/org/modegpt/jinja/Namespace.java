package org.modegpt.jinja;

import java.util.Map;

/// What `namespace()` makes: attributes that can be set from within a loop.
record Namespace(Map<String, Object> values) {}
