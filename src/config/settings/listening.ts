import type { Setting } from '../setting.ts';
import {
  addressRange,
  bytes,
  countOrAuto,
  countOrNone,
  duration,
  listOf,
  port,
  replica,
  text,
} from '../types.ts';

/** Addresses, ports, connections, and worker processes. */
export const LISTENING = {
  host: {
    type: text,
    doc: 'Address to listen on. Default: all addresses with --tls acme, otherwise 127.0.0.1.',
    example: '0.0.0.0',
  },
  port: {
    type: port,
    doc: 'Port for HTTP; 0 selects a free port. With TLS, it serves only ACME challenges and health checks, and redirects all other requests to HTTPS. Default: 80 with --tls acme, otherwise 8080.',
    example: '80',
  },
  httpsPort: {
    type: port,
    doc: 'Port for HTTPS; 0 selects a free port. Default: 443 with --tls acme, otherwise 8443.',
    example: '443',
  },
  trustProxy: {
    type: listOf(addressRange),
    default: '',
    doc: 'Addresses of the reverse proxies in front of the service. Only these may set X-Forwarded-For and X-Forwarded-Proto, and X-Forwarded-Host if it names one of DOMAINS or REPLICAS.',
    example: '127.0.0.1,10.0.0.0/8',
  },
  replicas: {
    reloads: true,
    type: listOf(replica),
    default: '',
    doc: 'Public URLs of all services with the same content, including this one. Metalinks and Link headers list them. Each URL may be followed by a country code.',
    example: 'https://dl1.example.org,https://dl2.example.org de',
  },
  maxConnections: {
    type: countOrNone,
    default: '10000',
    doc: 'Maximum number of open connections, divided evenly among WORKERS. 0 sets no limit.',
  },
  connectionsPerClient: {
    type: countOrNone,
    default: '256',
    doc: 'Maximum number of connections of one client to each worker. A client is an IPv4 address or an IPv6 /64. Proxies in TRUST_PROXY are exempt. 0 sets no limit.',
  },
  minClientSpeed: {
    type: bytes,
    default: '1KiB',
    doc: 'Minimum transfer rate of a client, in bytes per second. A slower client is disconnected. 0 sets no limit.',
  },
  minClientSpeedWindow: {
    type: duration,
    default: '2m',
    doc: 'How long a client may stay below MIN_CLIENT_SPEED, including pauses.',
  },
  maxEventLoopDelay: {
    type: duration,
    default: '500ms',
    doc: 'Maximum delay of a process’s event loop, averaged over one second. Above it, new requests get 503. 0s sets no limit.',
  },
  drain: {
    type: duration,
    default: '30s',
    doc: 'How long downloads in progress may continue after the service is asked to stop.',
  },
  workers: {
    type: countOrAuto,
    doc: 'Number of worker processes. Each uses one core and about 100 MB of memory. auto: one per core, but at most one per 256 MiB of memory. Default: 1 with --source engine, --limits-store memory, or a loopback --host; otherwise auto.',
    example: 'auto',
  },
} as const satisfies Record<string, Setting<unknown>>;
