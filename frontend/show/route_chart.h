// The routes of a training run as pictures: load of each expert over time as a heat map, and below it what was dropped, the
// router's entropy and how many experts nobody chose.
#ifndef MIXC_ROUTE_CHART_H
#define MIXC_ROUTE_CHART_H

#include "run_log.h"

extern const char route_chart_style[];      // CSS for the classes used, light and dark
// A figure for each route that the log knows; nothing without routes.
void route_charts(const RunLog *log, Text *out);
// "load .91-1.18 (ideal 1)  dropped 0.7%  entropy 2.71/2.77  dead 0/16"
void route_line(const LogRoute *route, Text *out);

#endif
