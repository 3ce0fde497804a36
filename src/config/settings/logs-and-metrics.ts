import type { Setting } from '../setting.ts';
import { oneOf, portOrOff, text } from '../types.ts';

/** Logs and metrics. */
export const LOGS_AND_METRICS = {
  logLevel: {
    reloads: true,
    type: oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'),
    default: 'info',
    doc: 'Minimum severity of log messages.',
  },
  logFormat: {
    type: oneOf('auto', 'json', 'text'),
    default: 'auto',
    doc: 'Format of log messages: json (one object per line), text (readable lines), or auto (text on a terminal and under journald, otherwise json).',
  },
  metricsPort: {
    type: portOrOff,
    default: 'off',
    doc: 'Port that serves Prometheus metrics at /metrics; 0 selects a free port.',
  },
  metricsHost: {
    type: text,
    default: '127.0.0.1',
    doc: 'Address that serves metrics. Keep it private, because metrics reveal how the service is used.',
  },
} as const satisfies Record<string, Setting<unknown>>;
