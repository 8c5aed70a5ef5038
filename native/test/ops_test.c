#include "modegpt.h"
#include <stdio.h>
int main(void) { mg_context *c; char t[99]; int s = mg_context_create(0, 0, NULL, &c); if (s) { puts(mg_last_error(NULL)); return 1; } mg_describe(c, t, 99); puts(t); mg_context_destroy(c); return 0; }
